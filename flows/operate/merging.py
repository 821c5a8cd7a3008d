"""Merging: what comes by several ways becomes one stream, in the order in which the task takes its records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import numpy as np
import polars as pl

from flows.operate.base import META, NO_TIME, WATERMARK, Batch, FrameStep, triggers_of
from flows.operate.joins.origins import JoinedTime, WouldClose, in_order

_NEVER = (NO_TIME, NO_TIME)


class MergeStep:
    """Pass on the rows of several streams as one, when the whole input batch is there.

    A record that came by two ways is there twice, side by side. `kept` holds what a restart must know of time, by
    step: it travels with the offset of one of the task's inputs.
    """

    def __init__(self, step: str, columns: Sequence[str], kept: Callable[[], dict[str, tuple[int, int]]]) -> None:
        self._step, self._columns, self._kept = step, [*columns, *META], kept
        self.time = JoinedTime()
        self._queue: list[tuple[int, pl.DataFrame, Batch]] = []

    def begin(self) -> None:
        """Go on from the time that was committed."""
        self.time.floor, self.time.silence = self._kept().get(self._step, _NEVER)

    def take(self, side: int, frame: pl.DataFrame, batch: Batch) -> None:
        """Take rows of one of the streams."""
        self._queue.append((side, frame, batch))

    def run(self, then: FrameStep) -> None:
        """Pass on what came, in the order of the input batch."""
        queue, self._queue = self._queue, []
        if not queue:
            return
        self.time.broken()
        triggers = [(side, triggers_of(frame, batch)) for side, frame, batch in queue]
        times = [self.time.as_of(rows) for _, rows in triggers]
        frames = [
            frame.select(self._columns).with_columns(pl.Series(WATERMARK, time))
            for (_, frame, _), time in zip(queue, times, strict=True)
        ]
        if len(queue) == 1:
            then(frames[0], queue[0][2])
        else:
            for frame, batch in _interleaved(frames, [batch for *_, batch in queue], in_order(triggers)):
                then(frame, batch)
        self.time.keep()

    def settle(self, behind: WouldClose) -> bool:
        """Learn of silence; time that is moved by silence alone is moved only where a window closes by it."""
        time = self.time
        moved = time.now > time.floor
        reaches = time.reaches()
        if reaches > max(time.now, time.silence) and behind.would_close(reaches):
            time.silence, moved = reaches, True
        return moved

    def flush(self) -> None:
        """Note what a restart must know (step 2 of the commit)."""
        time, kept = self.time, self._kept()
        time.keep()
        before = kept.get(self._step, _NEVER)
        found = (time.floor if time.needs_keeping else before[0], time.silence)
        if found != before:
            kept[self._step] = found


def _interleaved(
    frames: Sequence[pl.DataFrame], batches: Sequence[Batch], order: Sequence[tuple[int, int, int]]
) -> Iterator[tuple[pl.DataFrame, Batch]]:
    """Yield the rows in order, in runs that are of one batch: those of an input, or those that a join made."""
    starts = np.cumsum([0, *(frame.height for frame in frames)]).tolist()
    whole = pl.concat(frames)
    for _, run in groupby(order, key=lambda row: id(batches[row[0]])):
        rows = list(run)
        yield whole[[starts[frame] + place for frame, place, _ in rows]], batches[rows[0][0]]
