"""Compiling steps with several inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dsl.plan.column_types import column_types
from dsl.plan.graph import Plan
from dsl.plan.nodes import JoinNode, MergeNode, inputs_of
from flows.brokers.base import TopicPartition
from flows.compile.branch import Branch
from flows.compile.columns import needed_columns, schema_of_step
from flows.compile.expressions import frame_schema
from flows.compile.feeds import Derived, Joining
from flows.compile.names import ENDS, LEFT, RIGHT
from flows.compile.pipeline import Pipeline
from flows.compile.values import key_types, row_shape
from flows.decode.message_keys import encode_message_key
from flows.operate.base import Batch, FrameStep
from flows.operate.joins.asof_join import AsofJoin
from flows.operate.joins.keyed import side_rows
from flows.operate.joins.made import MadeRows
from flows.operate.joins.origins import JoinedTime
from flows.operate.joins.sides import JoinRows
from flows.operate.joins.stream_join import JoinSide, StreamJoin, merger
from flows.operate.merging import MergeStep
from flows.state.keys import KeyCodec

if TYPE_CHECKING:
    import polars as pl

    from flows.compile.task import TaskCompiler


def arrange(plan: Plan, pipeline: Pipeline) -> dict[int, list[Branch]]:
    """Put the steps with several inputs behind those that they read, and tell the inputs what they feed.

    Returns the inputs that feed each of what records come from, by its origin's id.
    """
    pipeline.derived = {step: pipeline.derived[step] for step in plan.nodes if step in pipeline.derived}
    fed_by: dict[int, list[Branch]] = {id(b.origin): [b] for b in pipeline.branches.values()}
    for derived in pipeline.derived.values():
        branches = [b for origin in derived.origin.inputs for b in fed_by[id(origin)]]
        fed_by[id(derived.origin)] = branches
        for branch in branches:
            branch.feeds.append(derived)
        derived.set_floors()
    return fed_by


def input_of(compiler: TaskCompiler, node: JoinNode | MergeNode, step: str) -> FrameStep:
    """Return what takes a step's frames to a join or merge, which is built when the first of its inputs is."""
    assert isinstance(compiler.branch, Branch | Derived), "changes are refused where a join or merge is declared"
    origin = compiler.branch.origin
    found = compiler.pipeline.derived.get(node.id)
    if found is None:
        found = _build(compiler, node)
    found.origin.inputs.append(origin)
    queue = found.step.take
    sides = [side for side, name in enumerate(inputs_of(node)) if name == step]

    def take(side: int) -> FrameStep:
        def run(frame: pl.DataFrame, batch: Batch) -> None:
            queue(side, frame, batch)

        return side_step(compiler, node, side, run, node.id) if isinstance(node, JoinNode) else run

    steps = [take(side) for side in sides]

    def all_of(frame: pl.DataFrame, batch: Batch) -> None:
        for run in steps:
            run(frame, batch)

    return steps[0] if len(steps) == 1 else all_of


def side_step(compiler: TaskCompiler, node: JoinNode, side: int, then: FrameStep, step: str) -> FrameStep:
    """Return what passes on the rows of a side that can be joined; `step` names it where others are refused."""
    keys = (node.left_keys, node.right_keys)[side]
    return side_rows(step, keys, node.keeps(side), compiler.dead, then)


def _build(compiler: TaskCompiler, node: JoinNode | MergeNode) -> Derived:
    step: Joining = _stream_join(compiler, node) if isinstance(node, JoinNode) else _merge(compiler, node)
    derived = Derived(step=step, then=_nowhere)
    compiler.pipeline.derived[node.id] = derived
    before, compiler.branch = compiler.branch, derived
    derived.then = compiler.fan(node.id)
    compiler.branch = before
    return derived


def _merge(compiler: TaskCompiler, node: MergeNode) -> MergeStep:
    needed, pipeline = needed_columns(compiler.plan, node.id), compiler.pipeline
    columns = [name for name in schema_of_step(compiler.plan, node.id).names if name in needed]
    first = TopicPartition(min(compiler.context.part.inputs), compiler.context.partition)
    return MergeStep(node.id, columns, lambda: pipeline.branches[first].source.watermark.merged)


def _stream_join(compiler: TaskCompiler, node: JoinNode) -> StreamJoin:
    plan, context = compiler.plan, compiler.context
    schemas = [schema_of_step(plan, step) for step in inputs_of(node)]
    all_keys = (node.left_keys, node.right_keys)

    def side(number: int) -> JoinSide:
        schema, keys = schemas[number], all_keys[number]
        return JoinSide(
            columns=schema.names,
            keys=keys,
            back=(node.before, node.after)[number],
            ahead=(node.after, node.before)[number],
            is_kept=node.keeps(number),
            encoder=KeyCodec(key_types(schema, keys)),
            late=compiler.late_box(node.id, inputs_of(node)[number], schema.names, keys),
        )

    declared = (column_types(plan, step) for step in inputs_of(node))
    shapes = (row_shape(schema, types) for schema, types in zip(schemas, declared, strict=True))
    left, right = (msgspec.msgpack.Decoder(shape).decode for shape in shapes)
    rows = JoinRows((node.id + LEFT, node.id + RIGHT, node.id + ENDS), context.state, (left, right))
    waits = node.keeps(0)
    made = MadeRows(
        TopicPartition(node.id, context.partition),
        frame_schema(node.schema),
        [node.schema.names.index(key) for key in node.left_keys],
        encode_message_key,
        context.now_ms,
    )
    parts: dict[str, Any] = {
        "rows": rows,
        "made": made,
        "merged": merger(schemas[0].names, node.left_keys, schemas[1].names, node.right_keys),
    }
    if node.picks != "all":
        time = JoinedTime() if node.at_once else JoinedTime(node.after + node.grace, rows.are_some)
        return AsofJoin((side(0), side(1)), node.grace, picks=node.picks, at_once=node.at_once, time=time, **parts)
    time = JoinedTime(max(node.before, node.after) + node.grace, rows.are_some) if waits else JoinedTime()
    return StreamJoin((side(0), side(1)), node.grace, time=time, **parts)


def _nowhere(frame: pl.DataFrame, batch: Batch) -> None:
    """Where rows go until the steps behind are built."""
