"""Merging: what comes by several ways becomes one stream, in the order in which the task takes its records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from flows.brokers.base import Records, TopicPartition
from flows.operate.base import META, NO_TIME, ROW, WATERMARK, Batch, FrameStep, Times, triggers_of
from flows.operate.joins.origins import JoinedTime, WouldClose, in_order

_NEVER = (NO_TIME, NO_TIME)


class MergeStep:
    """Pass on the rows of several streams as one, when the whole round is there.

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

    def run(self, then: FrameStep, turns: int) -> None:
        """Pass on what came, in the order of the round's turns."""
        queue, self._queue = self._queue, []
        if not queue:
            return
        self.time.broken()
        dues = [(side, triggers_of(frame, batch)) for side, frame, batch in queue]
        times = [self.time.as_of(own) for _, own in dues]
        frames = [
            frame.select(self._columns).with_columns(pl.Series(WATERMARK, time))
            for (_, frame, _), time in zip(queue, times, strict=True)
        ]
        if len(queue) == 1:
            then(frames[0], queue[0][2])
            return
        # Rows with objects and rows that a step made are different to those behind.
        batches = [batch for *_, batch in queue]
        kinds = np.array([batch.objects is None for batch in batches])
        numbers, places, _ = in_order(dues)
        cuts = np.flatnonzero(np.diff(kinds[numbers])) + 1
        for few, own in zip(np.split(numbers, cuts), np.split(places, cuts), strict=True):
            then(*_merged(frames, batches, few, own))

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


class MergedRecords(Records, frozen=True):
    """Records of several partitions, in the order in which the task took them."""

    origins: Sequence[TopicPartition]

    def origin(self, row: int) -> TopicPartition:
        return self.origins[row]


def _merged(
    frames: Sequence[pl.DataFrame], batches: Sequence[Batch], numbers: Times, places: Times
) -> tuple[pl.DataFrame, Batch]:
    """Return rows of several frames, each with its number, as rows of one batch, which has their records once each."""
    if (numbers == numbers[0]).all():
        return frames[numbers[0]][places], batches[numbers[0]]
    starts = np.cumsum([0, *(frame.height for frame in frames[:-1])])
    whole = pl.concat(frames)[starts[numbers] + places]
    # A frame's batch may be another one's too: a record that came by two ways is one.
    of_batch = {id(batch): batch for batch in batches}
    known = {key: place for place, key in enumerate(of_batch)}
    own = np.array([known[id(batch)] for batch in batches])[numbers]
    lengths = np.cumsum([0, *map(len, of_batch.values())])
    named = lengths[own] + whole[ROW].to_numpy()
    _, firsts, rows = np.unique(named, return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    kept = np.sort(firsts)
    return whole.with_columns(pl.Series(ROW, ranks[rows])), _batch(
        list(of_batch.values()), own[kept].tolist(), (named - lengths[own])[kept].tolist()
    )


def _batch(batches: list[Batch], numbers: list[int], rows: list[int]) -> Batch:
    """Return a batch of rows of others."""
    picked = list(zip(numbers, rows, strict=True))

    def of(columns: Sequence[Sequence[Any]]) -> list[Any]:
        return [columns[number][row] for number, row in picked]

    all_records = [batch.records for batch in batches]
    headers = [[()] * len(r) if r.headers is None else r.headers for r in all_records]
    records = MergedRecords(
        tp=all_records[0].tp,
        offsets=of([r.offsets for r in all_records]),
        timestamps=of([r.timestamps for r in all_records]),
        keys=of([r.keys for r in all_records]),
        values=of([r.values for r in all_records]),
        headers=of(headers) if any(r.headers is not None for r in all_records) else None,
        next_offset=all_records[0].next_offset,
        origins=[all_records[number].origin(row) for number, row in picked],
    )
    objects = None if batches[0].objects is None else of([batch.objects or () for batch in batches])
    times, watermarks = (
        np.array(of(c), np.int64) for c in zip(*((b.times, b.watermarks) for b in batches), strict=True)
    )
    found = Batch(records, objects, times, watermarks)
    turns = [np.arange(len(b)) if b.triggers is None else b.triggers for b in batches]
    found.triggers = np.array(of([own.tolist() for own in turns]), np.int64)
    return found
