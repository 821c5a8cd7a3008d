"""Compiling what passes on some of a stream's rows, or with another time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.plan.nodes import ClockNode, DedupeNode
from flows.compile.feeds import ClockFeed
from flows.compile.names import INDEX
from flows.compile.values import key_types
from flows.operate.base import FrameStep
from flows.operate.deduping import DedupeStep
from flows.operate.open_windows import OpenWindows
from flows.operate.processing_time import clock_step
from flows.operate.stateless import group_step
from flows.state.keys import KeyCodec

if TYPE_CHECKING:
    from flows.compile.task import TaskCompiler


def dedupe(compiler: TaskCompiler, node: DedupeNode) -> FrameStep:
    """Build what leaves repetitions out."""
    types, state = key_types(node.schema, node.keys), compiler.context.state
    encoder = KeyCodec(types, 1)
    seen = OpenWindows(node.table + INDEX, KeyCodec(types), state, encoder.window_bytes)
    step = DedupeStep(
        node.id,
        node.table,
        node.keys,
        node.within,
        encoder=encoder,
        seen=seen,
        state=state,
        dead=compiler.dead,
        then=compiler.fan(node.id),
    )
    compiler.branch.tables.append(step)
    return group_step(node.id, node.keys, True, compiler.dead, step.process)


def by_the_clock(compiler: TaskCompiler, node: ClockNode) -> FrameStep:
    """Build what gives records the clock's time; the steps behind are a feed of their own, with a time of its own."""
    pipeline, before = compiler.pipeline, compiler.branch
    compiler.branch = feed = ClockFeed(clock=pipeline.clock)
    before.clocked.append(feed)
    pipeline.clocked.append(feed)
    then = compiler.fan(node.id)
    compiler.branch = before
    return clock_step(pipeline.clock, then)
