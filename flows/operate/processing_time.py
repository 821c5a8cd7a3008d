"""Processing time: the wall clock's time at which a task takes a record, for windows that go by it.

A stamp is no part of the log: a record whose commit died is taken again, later, and counts in the window of that later
moment alone. What is committed goes with the stamps that it was computed by, and with how far the clock had come.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from flows.operate.base import NO_TIME, TIME, WATERMARK, Batch, FrameStep


class TaskClock:
    """The time of all windows of processing time in a task, in microseconds; it never goes back, nor over restarts."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.time = NO_TIME

    def read(self) -> int:
        """Return the time that it is now."""
        self.time = max(self.time, round(self._now() * 1_000_000))
        return self.time


def clock_step(clock: TaskClock, then: FrameStep) -> FrameStep:
    """Give the rows of a batch the time at which they are taken."""

    def run(frame: pl.DataFrame, batch: Batch) -> None:
        now = pl.lit(clock.read(), dtype=pl.Int64)
        then(frame.with_columns(now.alias(TIME), now.alias(WATERMARK)), batch)

    return run
