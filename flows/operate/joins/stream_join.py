"""Two streams joined in a window of time, record by record.

Kafka Streams' rules, with these made exact. A record waits until the stream time has passed the last moment at which
its other half could be, by more than the grace. From then on it matches nothing, however the task's batches fell: it is
gone before the next record is looked at. A record that comes when its own window has closed is late.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from flows.operate.base import NO_TIME, OFFSET, PARTITION, TIME, WINDOW, Batch, FrameStep, triggers_of
from flows.operate.joins.made import MadeRows
from flows.operate.joins.origins import JoinedTime, WouldClose, held_back, in_order
from flows.operate.joins.sides import JoinRows, Kept, Place
from flows.operate.tables import KeyEncoder, LateRows

_NOWHERE = np.zeros(0, np.int64)


class JoinSide(NamedTuple):
    """One side of a join: its columns and keys, how far its records look back and ahead, and whether all are shown."""

    columns: tuple[str, ...]
    keys: tuple[str, ...]
    back: int
    ahead: int
    is_kept: bool
    encoder: KeyEncoder
    late: LateRows


class Entry(NamedTuple):
    """A record that waits for its turn in the batch."""

    key: bytes
    time: int
    place: Place
    row: tuple[Any, ...]
    is_null: bool


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
        self._remembered = (0, NO_TIME, NO_TIME)

    def begin(self) -> None:
        """Go on from what was committed."""
        self._remembered = self._rows.remembered()
        self._made.number, self.time.floor, self.time.silence = self._remembered

    def take(self, side: int, frame: pl.DataFrame, batch: Batch) -> None:
        """Take rows of one side; they are looked at when the whole input batch is there."""
        self._queue.append((side, frame, batch))

    def run(self, then: FrameStep) -> None:
        """Join what came, in the order of the input batch, and pass on what has come of it."""
        queue, self._queue = self._queue, []
        if queue:
            self.time.broken()
        triggers = [(side, triggers_of(frame, batch)) for side, frame, batch in queue]
        order = in_order(triggers)
        times = self.time.as_of(np.array([trigger for *_, trigger in order], np.int64)) if order else _NOWHERE
        entries = [self._entries(side, frame) for side, frame, _ in queue]
        late: dict[int, list[int]] = {}
        for (number, place, trigger), now in zip(order, times.tolist(), strict=True):
            side = queue[number][0]
            if not self._take(side, entries[number][place], now, trigger):
                late.setdefault(number, []).append(place)
        for number, places in late.items():
            side, frame, batch = queue[number]
            window = (pl.col(TIME) - self._sides[side].back).alias(WINDOW)
            self._sides[side].late.add(frame[places].with_columns(window), batch)
        self.time.keep()
        self._close(self.time.floor, order[-1][2] if order else 0)
        self._made.hand_on(then)

    def _entries(self, side: int, frame: pl.DataFrame) -> list[Entry]:
        own = self._sides[side]
        columns = [frame[k].to_list() for k in own.keys]
        keys = own.encoder.encode_columns(columns)
        nulls = [None in parts for parts in zip(*columns, strict=True)]
        origins = zip(frame[PARTITION].to_list(), frame[OFFSET].to_list(), strict=True)
        seen: dict[tuple[int, int], int] = {}
        places = []
        for partition, offset in origins:
            number = seen[partition, offset] = seen.get((partition, offset), -1) + 1
            places.append(Place(partition, offset, number))
        rows = zip(*(frame[c].to_list() for c in own.columns), strict=True)
        return [Entry(*e) for e in zip(keys, frame[TIME].to_list(), places, rows, nulls, strict=True)]

    def _take(self, side: int, entry: Entry, now: int, trigger: int) -> bool:
        """Join one record; tell whether it came in time."""
        self._close(now, trigger)
        own = self._sides[side]
        if entry.is_null:
            self._add(side, entry.row, None, entry.time, now, trigger)
            return True
        end = entry.time + own.ahead + self._grace
        if end < max(now, self.time.silence):
            return False
        self._join(side, entry, end, now, trigger)
        return True

    def _join(self, side: int, entry: Entry, end: int, now: int, trigger: int) -> None:
        """Join a record that came in time, and keep it until its end."""
        own, found = self._sides[side], False
        for match in self._rows.within(1 - side, entry.key, entry.time - own.back, entry.time + own.ahead):
            found = True
            self._add(side, entry.row, match.row, max(entry.time, match.time), now, trigger)
            if match.waits:
                self._rows.matched(1 - side, match)
        self._rows.put(side, entry.key, entry.time, entry.place, entry.row, end, own.is_kept and not found)

    def _add(self, side: int, row: Sequence[Any], other: Sequence[Any] | None, time: int, now: int, due: int) -> None:
        merged = self._merged(row, other) if side == 0 else self._merged(other, row)
        self._made.add(merged, time, held_back(now, self.time.hold), due)

    def _close(self, now: int, trigger: int) -> None:
        """End the waiting of all whose window has closed. Those behind see time as it was when it closed."""
        for end, side, kept in self._rows.ended(max(now, self.time.silence)):
            if kept.waits:
                self._end(side, kept, min(now, end), trigger)

    def _end(self, side: int, kept: Kept, now: int, trigger: int) -> None:
        """Pass on a record that waited in vain."""
        if self._sides[side].is_kept:
            self._add(side, kept.row, None, kept.time, now, trigger)

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
        new = (self._made.number, time.floor if time.needs_keeping else self._remembered[1], time.silence)
        if new != self._remembered:
            self._remembered = new
            self._rows.remember(*new)


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
