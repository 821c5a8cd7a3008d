"""Compiling: one function per node turns the plan's steps into the closures and objects of a pipeline."""

from __future__ import annotations

from functools import singledispatchmethod
from typing import Any

import msgspec
import polars as pl

from dsl.changes import SIGN
from dsl.plan.column_types import column_types
from dsl.plan.graph import writing_half
from dsl.plan.nodes import (
    PASSING,
    AgentNode,
    AggregateNode,
    AnswerNode,
    ClockNode,
    DedupeNode,
    FilterNode,
    GlobalLookupNode,
    JoinNode,
    LookupNode,
    MapNode,
    MergeNode,
    Node,
    ProjectNode,
    RepartitionNode,
    RouteNode,
    SampleNode,
    SinkNode,
    TableJoinNode,
    TableNode,
    TimerNode,
    TopicNode,
    TopicTableNode,
    inputs_of,
)
from dsl.window import FixedWindow
from flows.brokers.base import TopicPartition
from flows.compile.agents import build_agent, build_timer
from flows.compile.branch import Branch
from flows.compile.changes import join_feed, keep_table, regroup_step, telling
from flows.compile.columns import has_original_rows, needed_columns, schema_of_step
from flows.compile.context import TaskContext, topic_encoders
from flows.compile.dictionaries import build_dictionaries, build_expiry
from flows.compile.expressions import compile_expr, frame_schema
from flows.compile.feeds import AnswerFeed, ChangeFeed, ClockFeed, Derived, Feed, JoinFeed
from flows.compile.foreign import foreign_join, questions
from flows.compile.global_tables import global_lookup
from flows.compile.joins import arrange, input_of
from flows.compile.names import dead_letters, late_topics
from flows.compile.pipeline import Pipeline
from flows.compile.repartitions import build_repartition, place_check
from flows.compile.shaping import by_the_clock, dedupe
from flows.compile.table_joins import HeldTables, hold_aggregates, lookup, tables_first, topic_table
from flows.compile.tables import folds_of
from flows.compile.targets import partitions_of, topics_of
from flows.compile.texts import kept_texts
from flows.compile.values import key_types, row_types
from flows.compile.windows import table_step
from flows.decode.message_keys import KeyClaim, encode_message_key
from flows.decode.times import EventTimes
from flows.decode.values import ValueDecoder
from flows.emit.dead_letters import DeadLetterBox
from flows.emit.late import LateBox
from flows.emit.outbox import Outbox
from flows.operate.aggregate import AggregateStep
from flows.operate.aggregates import Aggregation
from flows.operate.aggregates.folds import FOLDED, FoldRows, numbered_step
from flows.operate.base import ROW, Batch, FrameStep
from flows.operate.foreign_join import ForeignJoin, Questions
from flows.operate.processing_time import TaskClock
from flows.operate.regroup import without_null_keys_gone
from flows.operate.sampling import sample_step
from flows.operate.stateless import RowBuilder, filter_step, group_step, map_step, project_step
from flows.operate.tables import TableStep
from flows.operate.telling import Relay
from flows.sink.stream import StreamSink
from flows.source.repartitioned import RepartitionSource
from flows.source.topic import TopicSource


def compile_task(context: TaskContext) -> Pipeline:
    """Build the pipeline of one task."""
    return TaskCompiler(context).build()


class TaskCompiler:
    """Walk a sub-topology from its inputs and build what each step becomes."""

    branch: Branch | Derived | ChangeFeed | ClockFeed | JoinFeed | AnswerFeed
    """Where the records of the steps come from that are being built."""

    def __init__(self, context: TaskContext) -> None:
        self.context, self.plan = context, context.plan
        self.outbox = Outbox(context.metrics.written)
        self.pipeline = Pipeline(context.metrics, self.outbox, TaskClock(context.clock.now))
        self.dead = DeadLetterBox(
            dead_letters(self.plan.app), self.outbox, context.now_ms, context.metrics.count_refused
        )
        self.windows: dict[str, FixedWindow] = {}
        self.tables: dict[str, tuple[Feed, TableStep]] = {}
        self.held = HeldTables()
        self.asked: dict[str, tuple[Feed, Questions]] = {}
        self.answered: dict[str, ForeignJoin] = {}
        self.encoders = topic_encoders(self.plan, context.codecs, context.max_record_bytes, context.now_ms)

    def build(self) -> Pipeline:
        steps = [self.plan.nodes[s] for s in self.context.part.steps if s in self.plan.nodes]
        for node in steps:
            if isinstance(node, TableNode):
                build_dictionaries(self, node)
        for node in steps:
            if isinstance(node, TopicNode) and self.plan.consumers(node.id):
                self._add_branch(node.id, self._topic_source(node))
            elif isinstance(node, RepartitionNode):
                self._add_branch(node.id, self._repartition_source(node))
        for node in steps:
            if isinstance(node, TableJoinNode | AnswerNode):
                self.pipeline.joins.append(join_feed(self, node))
        self.held.arrange(self.pipeline, arrange(self.plan, self.pipeline))
        for node in steps:
            if isinstance(node, TimerNode):
                self.pipeline.timers.append(build_timer(self, node))
            elif isinstance(node, TableNode):
                build_expiry(self, node)
        users = [t for r in self.pipeline.runners for t in r.spec.tables]
        self.pipeline.lockstep = len(users) != len(set(users))
        return self.pipeline

    # Inputs

    def _add_branch(self, step: str, source: Any) -> None:
        self.branch = branch = Branch(source=source, expiries=self.pipeline.expiries)
        self.pipeline.branches[source.tp] = branch
        for node in tables_first(self.plan.consumers(step)):
            if isinstance(node, AgentNode) and isinstance(self.plan.nodes[step], TopicNode):
                branch.agents.append(self._agent(node))
            elif isinstance(node, TopicTableNode):
                topic_table(self, node)
            else:
                branch.steps.append(self._reading(step, node))

    def _topic_source(self, node: TopicNode) -> TopicSource:
        tp = TopicPartition(node.name, self.context.partition)
        return TopicSource(
            node,
            tp,
            self.context.columns(node.id, needed_columns(self.plan, node.id)),
            decoder=ValueDecoder(node, self.context.codecs.of(node)),
            times=EventTimes(node, self.context.clock.now, self.context.max_ahead),
            claim=None if node.key is None else KeyClaim(node.name, node.key, node.on_error),
            dead=self.dead,
            places=place_check(self, node),
            removes=any(isinstance(user, TopicTableNode) for user in self.plan.consumers(node.id)),
        )

    def _repartition_source(self, node: RepartitionNode) -> RepartitionSource:
        tp = TopicPartition(node.topic, self.context.partition)
        producers = self.plan.subtopology_of(writing_half(node.id)).partitions
        return RepartitionSource(tp, frame_schema(node.schema), column_types(self.plan, node.id), producers)

    # Steps

    def fan(self, step: str) -> FrameStep:
        """Return what passes a step's output on to all that read it."""
        thens = [self._reading(step, node) for node in self.plan.consumers(step)]
        made = self.context.metrics.made

        def pass_on(frame: pl.DataFrame, batch: Batch) -> None:
            made[step] += frame.height
            for then in thens:
                then(frame, batch)

        return pass_on

    def _reading(self, step: str, node: Node) -> FrameStep:
        return input_of(self, node, step) if isinstance(node, JoinNode | MergeNode) else self.lower(node)

    @singledispatchmethod
    def lower(self, node: Node) -> FrameStep:
        """Turn a node into the function that takes its input's frames."""
        raise TypeError(f"step {node.id!r} ({type(node).__name__}) reads no stream")

    @lower.register
    def _filter(self, node: FilterNode) -> FrameStep:
        return filter_step(compile_expr(node.predicate, node.schema), self.fan(node.id))

    @lower.register
    def _sample(self, node: SampleNode) -> FrameStep:
        kinds = [(name, schema_of_step(self.plan, node.input).get(name)) for name in node.by]
        by = [(name, type_.kind) for name, type_ in kinds if type_ is not None]
        return sample_step(node.rate, node.every, by, self.fan(node.id))

    @lower.register
    def _dedupe(self, node: DedupeNode) -> FrameStep:
        return dedupe(self, node)

    @lower.register
    def _clock(self, node: ClockNode) -> FrameStep:
        return by_the_clock(self, node)

    @lower.register
    def _project(self, node: ProjectNode) -> FrameStep:
        before = schema_of_step(self.plan, node.input)
        columns = [compile_expr(expr, before).alias(name) for name, expr in node.columns]
        return project_step(columns, node.keep_rest, self.fan(node.id))

    @lower.register
    def _map(self, node: MapNode) -> FrameStep:
        return map_step(
            node.id,
            self.plan.functions[node.id],
            self.rows(node.input),
            self.plan.types[node.id],
            frame_schema(node.schema),
            self.dead,
            self.fan(node.id),
            many=node.many,
        )

    @lower.register
    def _repartition(self, node: RepartitionNode) -> FrameStep:
        return build_repartition(self, node)

    @lower.register
    def _lookup(self, node: LookupNode) -> FrameStep:
        return lookup(self, node)

    @lower.register
    def _global_lookup(self, node: GlobalLookupNode) -> FrameStep:
        return global_lookup(self, node)

    @lower.register
    def _answer(self, node: AnswerNode) -> FrameStep:
        self.asked[node.id] = self.branch, (found := questions(self, node))
        return found.process

    @lower.register
    def _table_join(self, node: TableJoinNode) -> FrameStep:
        found = self.answered[node.id] = foreign_join(self, node)
        return found.process

    @lower.register
    def _aggregate(self, node: AggregateNode) -> FrameStep:
        schema = schema_of_step(self.plan, node.input)
        if node.retracts:
            regroup = regroup_step(self, node, key_types(schema, node.keys))
            keep_table(self, node, regroup)
            then = group_step(node.id, node.keys, False, self.dead, regroup.process)
            return filter_step(without_null_keys_gone(SIGN, node.keys), then)
        folds = folds_of(self.plan, node)
        folded = FoldRows(node.id, self.rows(node.input), self.dead) if folds else None
        accumulators = Aggregation(node.aggregates, folds, folded)
        arguments = [compile_expr(expr, schema).alias(name) for name, expr in accumulators.inputs]
        columns = tuple(c for c in schema.names if c in needed_columns(self.plan, node.input))
        late = self.late_box(node.table, node.input, columns, node.keys)
        relay = Relay(lambda keys, states: self.pipeline.changed(node.table, keys, states))
        inner = table_step(
            node,
            [*arguments, pl.col(FOLDED)] if folded else arguments,
            key_types(schema, node.keys),
            accumulators=accumulators,
            state=self.context.state,
            late=late,
            changed=relay,
            forgotten=lambda keys, states: self.pipeline.forgotten(node.table, keys, states),
        )
        step = telling(self, node, key_types(schema, node.keys), inner, relay)
        keep_table(self, node, step)
        if isinstance(inner, AggregateStep):
            hold_aggregates(self, node.table, inner)
        texts = kept_texts(node, schema, self.context.max_record_bytes)
        process = step.process if folded is None else numbered_step(folded, step.process)
        return group_step(node.id, node.keys, node.window is not None, self.dead, process, texts)

    def late_box(self, name: str, step: str, columns: tuple[str, ...], keys: tuple[str, ...]) -> LateBox:
        """Return where the late records of a table or join go that come from a step."""
        return LateBox(
            late_topics(self.plan, name),
            self.context.partition,
            columns,
            keys,
            self.is_json(step),
            encode_message_key,
            self.outbox,
            self.context.now_ms,
            lambda seconds: self.context.metrics.late[name].add(seconds),
        )

    def is_json(self, step: str) -> bool:
        """Tell whether a stream's records came as JSON."""
        node = self.plan.nodes[step]
        if isinstance(node, TopicNode):
            return node.codec == "json"
        made = isinstance(node, RepartitionNode | JoinNode)
        return not made and all(self.is_json(before) for before in inputs_of(node))

    @lower.register
    def _sink(self, node: SinkNode | RouteNode) -> FrameStep:
        rows, topics, partitions = self.rows(node.input), topics_of(self, node), partitions_of(self, node)
        return StreamSink(node.id, rows, topics, partitions, self.outbox, self.dead).process

    @lower.register
    def _agent_step(self, node: AgentNode) -> FrameStep:
        runner, rows = self._agent(node), self.rows(node.input)

        def hand_over(frame: pl.DataFrame, batch: Batch) -> None:
            self.pipeline.work.append((runner, rows.objects(frame, batch), frame[ROW].to_list(), batch))

        return hand_over

    def _agent(self, node: AgentNode) -> Any:
        runner = build_agent(self, node)
        self.pipeline.runners.append(runner)
        return runner

    # What steps share

    def rows(self, step: str) -> RowBuilder:
        """Return how row objects of a step's output are made."""
        names = schema_of_step(self.plan, step).names
        return RowBuilder(names, self.row_type(step), has_original_rows(self.plan, step))

    def row_type(self, step: str) -> Any:
        """Return the class of a step's rows: the Record of a topic or a map, else one made of its columns."""
        node = self.plan.nodes[step]
        while isinstance(node, (*PASSING, MergeNode)):
            node = self.plan.nodes[inputs_of(node)[0]]
        if isinstance(node, TopicNode | MapNode):
            return self.plan.types.get(node.id)
        if isinstance(node, RepartitionNode) and node.schema == schema_of_step(self.plan, node.input):
            return self.row_type(node.input)
        schema = schema_of_step(self.plan, node.id)
        fields = zip(schema.names, row_types(schema, column_types(self.plan, node.id)), strict=True)
        return msgspec.defstruct("Row", fields, frozen=True, module=__name__)
