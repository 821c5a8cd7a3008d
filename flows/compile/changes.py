"""Compiling what goes on behind tables: their changes as streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsl.changes import REMOVED, SIGN
from dsl.plan.nodes import (
    AggregateNode,
    AnswerNode,
    ChangesNode,
    DeclaredTable,
    SinkNode,
    TableJoinNode,
    TopicTableNode,
)
from dsl.window import CountWindow
from flows.brokers.base import TopicPartition
from flows.compile.columns import schema_of_step
from flows.compile.expressions import compile_expr, frame_schema
from flows.compile.feeds import AnswerFeed, ChangeFeed, JoinFeed
from flows.compile.names import BEGUN, NUMBERS
from flows.compile.tables import TableDecoder
from flows.compile.windows import numbers_of
from flows.decode.message_keys import encode_message_key
from flows.operate.changes import TableChanges
from flows.operate.exact import ExactAggregation
from flows.operate.foreign_join import questions_of
from flows.operate.held_back import HeldBack
from flows.operate.regroup import RegroupStep
from flows.operate.table_join import TableJoin
from flows.operate.tables import TableStep
from flows.operate.telling import EachStep, MergingStep, Relay, StretchStep
from flows.sink.stream import ChangeSink
from flows.state.keys import KeyCodec

if TYPE_CHECKING:
    from flows.compile.task import TaskCompiler


def keep_table(compiler: TaskCompiler, node: DeclaredTable, step: TableStep) -> None:
    """Add a table to what is fed, and build what is behind it."""
    before, pipeline = compiler.branch, compiler.pipeline
    before.tables.append(step)
    compiler.tables[node.id] = before, step
    for consumer in compiler.plan.consumers(node.id):
        if isinstance(consumer, SinkNode):
            pipeline.watched.add(node.table)
            pipeline.change_sinks.setdefault(node.table, []).append(_change_sink(compiler, node, consumer).write)
        elif isinstance(consumer, ChangesNode):
            pipeline.watched.add(node.table)
            compiler.branch = after = _change_feed(compiler, consumer, step)
            before.after.append(after)
            after.steps.append(compiler.fan(consumer.id))
    compiler.branch = before


def _change_sink(compiler: TaskCompiler, node: DeclaredTable, sink: SinkNode) -> ChangeSink:
    place = TopicPartition(node.table, compiler.context.partition)
    encoder = compiler.encoders.of(sink.topic)
    decoder = TableDecoder(compiler.plan, node.table)
    return ChangeSink(sink.id, place, node.keys, decoder, encoder, compiler.outbox, compiler.dead)


def _change_feed(compiler: TaskCompiler, node: ChangesNode, table: TableStep) -> ChangeFeed:
    """Build what passes a table's changes on, without the steps behind it."""
    context = compiler.context
    origin = compiler.plan.nodes[node.input]
    assert isinstance(origin, AggregateNode | TableJoinNode | TopicTableNode)
    window = origin.window if isinstance(origin, AggregateNode) else None
    closes = window is not None and window.emit == "close" and not isinstance(window, CountWindow)
    rows, numbers = TableDecoder(compiler.plan, node.table), node.id + NUMBERS
    held = None if node.every is None else HeldBack(node.table, numbers, node.every, rows, context.state)
    changes = TableChanges(
        node.id,
        TopicPartition(node.table, context.partition),
        origin.keys,
        frame_schema(node.schema),
        rows=rows,
        state=context.state,
        numbers=numbers,
        encode_key=encode_message_key,
        dead=compiler.dead,
        now_ms=context.now_ms,
        held=held,
        each=node.each,
        removed=REMOVED if node.removals else None,
        sign=SIGN if node.retract else None,
        in_key_order=closes,
        questions=questions_of if node.asks else None,
        needs=node.schema.names[0] if node.asks else None,
    )
    if held is not None:
        compiler.pipeline.limited.append(changes)
    while isinstance(table, EachStep | StretchStep):
        if isinstance(table, EachStep) and node.each:
            table.listeners.append(changes)
        elif isinstance(table, StretchStep) and held is not None:
            table.listeners.append((changes, held))
            held.is_followed = True
        table = table.step
    return ChangeFeed(table=table, changes=changes)


def telling(
    compiler: TaskCompiler, node: AggregateNode, key_types: tuple[Any, ...], step: MergingStep, relay: Relay
) -> MergingStep:
    """Put around a table's step what tells of its changes in the course of a commit, where that is wanted."""
    behind = [n for n in compiler.plan.consumers(node.id) if isinstance(n, ChangesNode)]
    if any(n.each for n in behind):
        outer = Relay(relay.to)
        relay.to = outer
        window_bytes = KeyCodec(key_types, numbers_of(node.window)).window_bytes
        step, relay = EachStep(step, relay, node.keys, KeyCodec(key_types), window_bytes), outer
    return StretchStep(step, relay) if any(n.every is not None for n in behind) else step


def regroup_step(compiler: TaskCompiler, node: AggregateNode, key_types: tuple[Any, ...]) -> RegroupStep:
    """Build a table over the rows of another one."""
    aggregation = ExactAggregation(node.aggregates)
    schema = schema_of_step(compiler.plan, node.input)
    return RegroupStep(
        node.table,
        node.keys,
        SIGN,
        [compile_expr(expr, schema).alias(name) for name, expr in aggregation.inputs],
        aggregation=aggregation,
        encoder=KeyCodec(key_types),
        state=compiler.context.state,
        changed=lambda keys, states: compiler.pipeline.changed(node.table, keys, states),
    )


def join_feed(compiler: TaskCompiler, node: TableJoinNode | AnswerNode) -> JoinFeed | AnswerFeed:
    """Build what goes on behind tables that meet, and what is behind that; the tables are there."""
    pipeline = compiler.pipeline
    if isinstance(node, AnswerNode):
        pipeline.watched.add(node.table)
        asked, questions = compiler.asked[node.id]
        answer = AnswerFeed(questions=questions, asked=asked, table=compiler.tables[node.table], then=_nothing)
        compiler.branch = answer
        answer.then = compiler.fan(node.id)
        return answer
    sides = (node.left,) if node.on else (node.left, node.right)
    pipeline.watched.update(sides)
    join = compiler.answered[node.id] if node.on else _table_join(compiler, node)
    feed = JoinFeed(join=join, sides=[compiler.tables[side] for side in sides])
    compiler.branch = feed
    keep_table(compiler, node, join)
    return feed


def _nothing(frame: Any, batch: Any) -> None:
    """Stand for the steps behind until they are built."""


def _table_join(compiler: TaskCompiler, node: TableJoinNode) -> TableJoin:
    pipeline = compiler.pipeline
    return TableJoin(
        node.table,
        (node.left, node.right),
        (node.how != "outer", node.how == "inner"),
        node.table + BEGUN,
        rows=(TableDecoder(compiler.plan, node.left), TableDecoder(compiler.plan, node.right)),
        state=compiler.context.state,
        changed=lambda keys, states: pipeline.changed(node.table, keys, states),
        forgotten=lambda keys, states: pipeline.forgotten(node.table, keys, states),
    )
