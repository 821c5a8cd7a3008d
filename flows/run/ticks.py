"""Timers: their ticks run as records of an agent, inside the task's commit."""

from __future__ import annotations

import numpy as np

from flows.brokers.base import Records, TopicPartition
from flows.compile.pipeline import Pipeline
from flows.operate.base import NO_TIME, Batch


async def run_due_timers(pipeline: Pipeline) -> bool:
    """Run the timers that are due; tell whether any ran, or a window of processing time has ended.

    Ticks that were missed are not made up for; timers of keys are.
    """
    ran = await pipeline.fire_by_the_clock() or pipeline.clock_is_due
    for timer in pipeline.timers:
        if not timer.schedule.take():
            continue
        await timer.runner.run([None], [0], _tick(timer.node.id))
        ran = True
    return ran


def _tick(step: str) -> Batch:
    records = Records(
        tp=TopicPartition(step, 0), offsets=[0], timestamps=[0], keys=[None], values=[None], headers=None, next_offset=1
    )
    times = np.full(1, NO_TIME)
    return Batch(records, [None], times, times)
