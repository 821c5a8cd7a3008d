"""Two streams joined in a window of time, record by record.

Kafka Streams' rules, with these made exact. A record waits until the stream time has passed the last moment at which
its other half could be, by more than the grace. From then on it matches nothing, however the task's batches fell: it is
gone before the next record is looked at. A record that comes when its own window has closed is late.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from flows.operate.base import NO_TIME, OFFSET, PARTITION, TIME, WINDOW, Batch, FrameStep, triggers_of
from flows.operate.joins.made import MadeRows
from flows.operate.joins.origins import JoinedTime, WouldClose, held_back, in_order
from flows.operate.joins.sides import JoinRows, Kept
from flows.operate.tables import KeyEncoder, LateRows

Row = tuple[Any, ...]

Columns = tuple[int, list[bytes | None], list[int], list[tuple[int, int]], list[Row]]
"""Of a frame: its side, and by row the key (None for a null one), event time, origin and columns."""


class JoinSide(NamedTuple):
    """One side of a join: its columns and keys, how far its records look back and ahead, and whether all are shown."""

    columns: tuple[str, ...]
    keys: tuple[str, ...]
    back: int
    ahead: int
    is_kept: bool
    encoder: KeyEncoder
    late: LateRows


class StreamJoin:
    """One join of two streams in one task. `merged` makes a row of the result of the columns of both sides."""

    def __init__(
        self,
        sides: tuple[JoinSide, JoinSide],
        grace: int,
        *,
        rows: JoinRows,
        time: JoinedTime,
        made: MadeRows,
        merged: Callable[[Sequence[Any] | None, Sequence[Any] | None], tuple[Any, ...]],
    ) -> None:
        self._sides, self._grace = sides, grace
        self._rows, self.time, self._made, self._merged = rows, time, made, merged
        self._queue: list[tuple[int, pl.DataFrame, Batch]] = []
        self._noted = (0, NO_TIME, NO_TIME)
        self._times: list[int] = []

    def begin(self) -> None:
        """Go on from what was committed."""
        self._noted = self._rows.begin()
        self._made.number, self.time.floor, self.time.silence = self._noted

    def take(self, side: int, frame: pl.DataFrame, batch: Batch) -> None:
        """Take rows of one side; they are looked at when the whole round is there."""
        self._queue.append((side, frame, batch))

    def run(self, then: FrameStep, turns: int) -> None:
        """Join what came, in the order of the round's turns, and pass on what has come of it."""
        queue, self._queue = self._queue, []
        if queue:
            self.time.broken()
        frames, places, dues = in_order([(side, triggers_of(frame, batch)) for side, frame, batch in queue])
        times = self.time.as_of(np.arange(turns))
        self._times = times.tolist()
        columns = [self._columns(side, frame) for side, frame, _ in queue]
        late: list[tuple[int, int]] = []
        rows, silence = self._rows, self.time.silence
        for frame, place, due, now in zip(
            frames.tolist(), places.tolist(), dues.tolist(), times[dues].tolist(), strict=True
        ):
            side, keys, own_times, origins, values = columns[frame]
            reached = max(now, silence)
            if rows.next_end < reached:
                self._close(reached)
            key, time = keys[place], own_times[place]
            if key is None:
                self._add(side, values[place], None, time, now, due)
            elif (end := time + self._sides[side].ahead + self._grace) < reached:
                late.append((frame, place))
            else:
                self._join(side, key, time, origins[place], values[place], end, now, due)
        for number, few in groupby(late, key=lambda one: one[0]):
            side, own, batch = queue[number]
            window = (pl.col(TIME) - self._sides[side].back).alias(WINDOW)
            self._sides[side].late.add(own[[place for _, place in few]].with_columns(window), batch)
        self._close(max(self.time.now, silence))
        rows.settle()
        self._made.hand_on(then)

    def _columns(self, side: int, frame: pl.DataFrame) -> Columns:
        own = self._sides[side]
        columns = [frame[k].to_list() for k in own.keys]
        keys: list[bytes | None] = list(own.encoder.encode_columns(columns))
        if any(frame[k].null_count() for k in own.keys):
            keys = [None if None in parts else key for key, *parts in zip(keys, *columns, strict=True)]
        origins = list(zip(frame[PARTITION].to_list(), frame[OFFSET].to_list(), strict=True))
        rows = list(zip(*(frame[c].to_list() for c in own.columns), strict=True))
        return side, keys, frame[TIME].to_list(), origins, rows

    def _join(
        self, side: int, key: bytes, time: int, origin: tuple[int, int], row: Row, end: int, now: int, due: int
    ) -> None:
        """Join a record that came in time, and keep it until its end."""
        own = self._sides[side]
        found = self._rows.within(1 - side, key, time - own.back, time + own.ahead)
        for match in found:
            self._add(side, row, match.row, max(time, match.time), now, due)
            if match.waits:
                self._rows.matched(1 - side, match)
        self._rows.put(side, key, time, origin, row, end, own.is_kept and not found)

    def _add(self, side: int, row: Row, other: Row | None, time: int, now: int, due: int) -> None:
        merged = self._merged(row, other) if side == 0 else self._merged(other, row)
        self._made.add(merged, time, held_back(now, self.time.hold), due)

    def _close(self, reached: int) -> None:
        """End the waiting of all whose window has closed, each at the turn at which it did.

        Those behind see time as it was when it closed.
        """
        times = self._times
        for end, side, kept in self._rows.ended(reached):
            if kept.waits:
                due = min(bisect_right(times, end), len(times) - 1)
                self._end(side, kept, min(times[due], end), due)

    def _end(self, side: int, kept: Kept, now: int, due: int) -> None:
        """Pass on a record that waited in vain."""
        if self._sides[side].is_kept:
            self._add(side, kept.row, None, kept.time, now, due)

    def settle(self, behind: WouldClose) -> bool:
        """Learn of silence: end the waiting of what need wait no longer; tell whether that changed anything.

        `behind` are the tables behind this step. Silence alone moves time only where something ends by it.
        """
        time = self.time
        moved = time.now > time.floor
        reaches = time.reaches()
        if reaches > max(time.now, time.silence) and (
            self._rows.earliest_end(reaches) is not None or behind.would_close(held_back(reaches, time.hold))
        ):
            time.silence, moved = reaches, True
        return moved

    def flush(self) -> None:
        """Stage what a restart must know (step 2 of the commit)."""
        time = self.time
        time.keep()
        new = (self._made.number, time.floor if time.needs_keeping else self._noted[1], time.silence)
        if new != self._noted:
            self._noted = new
            self._rows.note(*new)


def merger(
    left: tuple[str, ...], keys: tuple[str, ...], right: tuple[str, ...], right_keys: tuple[str, ...]
) -> Callable[[Sequence[Any] | None, Sequence[Any] | None], tuple[Any, ...]]:
    """Return what makes a row of the result: the left side's columns, the right side's without its keys.

    In a row that the right side made alone, the left keys are the right ones.
    """
    rest = [place for place, name in enumerate(right) if name not in right_keys]
    nothing = (None,) * len(rest)
    from_right = [right.index(right_keys[keys.index(name)]) if name in keys else None for name in left]

    def merged(of_left: Sequence[Any] | None, of_right: Sequence[Any] | None) -> tuple[Any, ...]:
        if of_right is None:
            assert of_left is not None
            return (*of_left, *nothing)
        if of_left is None:
            of_left = [None if place is None else of_right[place] for place in from_right]
        return (*of_left, *(of_right[place] for place in rest))

    return merged
