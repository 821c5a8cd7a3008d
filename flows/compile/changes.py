"""Compiling what goes on behind tables: their changes as streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsl.changes import REMOVED, SIGN
from dsl.plan.nodes import AggregateNode, ChangesNode
from dsl.window import CountWindow
from flows.brokers.base import TopicPartition
from flows.compile.columns import schema_of_step
from flows.compile.expressions import compile_expr, frame_schema
from flows.compile.feeds import ChangeFeed
from flows.compile.names import NUMBERS
from flows.compile.tables import TableDecoder
from flows.decode.message_keys import encode_message_key
from flows.operate.changes import TableChanges
from flows.operate.exact import ExactAggregation
from flows.operate.regroup import RegroupStep
from flows.operate.tables import TableStep
from flows.state.keys import KeyCodec

if TYPE_CHECKING:
    from flows.compile.task import TaskCompiler


def change_feed(compiler: TaskCompiler, node: ChangesNode, table: TableStep) -> ChangeFeed:
    """Build what passes a table's changes on, without the steps behind it."""
    context = compiler.context
    origin = compiler.plan.nodes[node.input]
    assert isinstance(origin, AggregateNode)
    closes = origin.window is not None and origin.window.emit == "close" and not isinstance(origin.window, CountWindow)
    changes = TableChanges(
        node.id,
        TopicPartition(node.table, context.partition),
        origin.keys,
        frame_schema(node.schema),
        rows=TableDecoder(compiler.plan, node.table),
        state=context.state,
        numbers=node.id + NUMBERS,
        encode_key=encode_message_key,
        dead=compiler.dead,
        now_ms=context.now_ms,
        removed=REMOVED if node.removals else None,
        sign=SIGN if node.retract else None,
        in_key_order=closes,
    )
    return ChangeFeed(table=table, changes=changes)


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
