"""The end of the windows of dictionary tables: between two records, as stream time passes it, each once.

Stream time of such a table is the largest that any input of its task has reached, as in Kafka Streams; with a function
to call at the end of a window, silence of all inputs moves it too, as it does for `emit="close"` windows. A batch is
cut where time passes the next end, so that an agent sees the same at each record, wherever batches, commits and crashes
fell.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import numpy as np

from dsl.window import FixedWindow
from flows.brokers.base import Records, TopicPartition
from flows.operate.base import NO_TIME, Batch
from flows.operate.grouped_table import WindowedTableState
from flows.operate.key_timers import NEVER, KeyTimers, next_of

BEGINNING = -(1 << 62)
"""Before all event times, in microseconds."""

RunClosed = Callable[[Sequence[Any], Sequence[int], Batch], Awaitable[None]]
"""Works through the closed rows: ((key, (start, end) in seconds), value)."""


class Expiry:
    """The windows of one dictionary table in one task. `run` gets the rows of those that end, where anyone wants them.

    `next_time` is the stream time at which the next one ends.
    """

    def __init__(
        self,
        state: WindowedTableState,
        window: FixedWindow,
        range_of: Callable[[int, int], tuple[bytes, bytes]],
        run: RunClosed | None,
    ) -> None:
        assert window.retention is not None
        self.state, self._window, self._range_of, self._run = state, window, range_of, run
        self._life = window.size + window.retention
        self._gone_before = BEGINNING
        self.next_time = BEGINNING

    @property
    def waits_for_silence(self) -> bool:
        """Whether silence moves its time."""
        return self._run is not None

    def begin(self, time: int) -> None:
        """Take all windows that have ended by a stream time as gone."""
        if time != NO_TIME:
            self._open_from(time)

    def would_close(self, time: int) -> bool:
        """Tell whether a row is in a window that has ended by a stream time."""
        bound = self._first_open(time)
        return bound > self._gone_before and self.state.has_row(*self._range_of(self._gone_before, bound))

    async def close(self, time: int) -> None:
        """Remove the windows that have ended by a stream time, each row with a tombstone, and hand them over."""
        self._open_from(time)
        bound = self.state.open_from
        first, last = self._range_of(self._gone_before, bound)
        rows = self.state.between(first, last)
        self._gone_before = bound
        if not rows:
            return
        closed = [self.state.row(key, value) for key, value in rows]
        self.state.drop(first, last, [key for key, _ in rows])
        if self._run is not None:
            values = [((key, self._bounds(start)), value) for (start, key), value in closed]
            # In order of time, and of the keys in a window: that of the store.
            await self._run(values, range(len(values)), self._batch(rows, closed))

    def _open_from(self, time: int) -> None:
        self.state.open_from = max(self.state.open_from, self._first_open(time))
        self.next_time = self.state.open_from + self._life

    def _first_open(self, time: int) -> int:
        """Return the start of the first window that has not ended by a stream time."""
        offset, step = self._window.offset, self._window.step
        return (time - self._life - offset) // step * step + step + offset

    def _bounds(self, start: int) -> tuple[float, float]:
        return start / 1_000_000, (start + self._window.size) / 1_000_000

    def _batch(self, rows: list[tuple[bytes, bytes]], closed: list[tuple[tuple[int, Any], Any]]) -> Batch:
        """Return the rows as records; what is sent for one has the last time that its window could hold."""
        # A millisecond, since that is what records' timestamps count.
        times = np.array([max(start, start + self._window.size - 1_000) for (start, _), _ in closed], np.int64)
        records = Records(
            tp=TopicPartition(f"{self.state.name} windows", 0),
            offsets=range(len(rows)),
            timestamps=(times // 1000).tolist(),
            keys=[key for key, _ in rows],
            values=[value for _, value in rows],
            headers=None,
            next_offset=len(rows),
        )
        return Batch(records, None, times, times)


class Expiries:
    """All dictionary tables of a task whose windows expire, and its timers of keys; without any, nothing is done here.

    `time` is the largest stream time that an input has reached, in microseconds.
    """

    def __init__(self) -> None:
        self.tables: list[Expiry] = []
        self.timers: list[KeyTimers] = []
        self._floors: dict[TopicPartition, int] = {}
        self._silent: dict[TopicPartition, int] = {}
        self.time = NO_TIME

    @property
    def is_used(self) -> bool:
        """Whether there is anything that ends as time passes."""
        return bool(self.tables or self.timers)

    def begin(self, times: dict[TopicPartition, int], floors: dict[TopicPartition, int]) -> None:
        """Go on from the stream times that were committed, and from how far silence had moved them."""
        self._floors = {tp: max(times[tp], floors[tp]) for tp in times}
        self.time = max(times.values(), default=NO_TIME)
        for table in self.tables:
            table.begin(self._time_of(table))

    async def segments(self, marks: Any) -> AsyncIterator[slice]:
        """Yield the parts of a batch between which windows end, by its rows' stream times, ending them meanwhile.

        A record may set a timer that is due before the next: then each is a part of its own.
        """
        done, count = 0, len(marks)
        while done < count:
            await self.close(int(marks[done]))
            due = min((t.next_time for t in self.tables), default=NEVER)
            upto = done + 1 if self.timers else max(done + 1, int(np.searchsorted(marks, due, side="left")))
            yield slice(done, upto)
            done = upto

    async def close(self, time: int = NO_TIME) -> None:
        """End the windows that are due at a stream time, or by silence, and let timers go off, in order of time."""
        self.time = max(self.time, time)
        while (timers := self._due_timers()) is not None:
            await self._close_windows(timers.next_time)
            if (found := self._due_timers()) is not None:  # the end of a window may have set or removed one
                await found.fire()
        await self._close_windows(NEVER)

    async def _close_windows(self, at_most: int) -> None:
        for table in self.tables:
            reached = min(self._time_of(table), at_most)
            if reached != NO_TIME and reached >= table.next_time:
                await table.close(reached)

    def _due_timers(self) -> KeyTimers | None:
        """Return whose timer is to go off next, if one is due."""
        found = next_of(self.timers)
        return found if found is not None and found.next_time <= self._time_with_silence() else None

    def would_close(self, tp: TopicPartition, time: int) -> bool:
        """Tell whether a row would be handed over if silence moved an input's time there, as it does the others'."""
        self._silent[tp] = time
        floor = min(max(at, self._silent.get(other, at)) for other, at in self._floors.items())
        if self.timers and any(timers.next_time <= floor for timers in self.timers):
            return True
        waiting = (t for t in self.tables if t.waits_for_silence and floor >= t.next_time)
        return any(t.would_close(floor) for t in waiting)

    def move(self, tp: TopicPartition, floor: int) -> None:
        """Learn how far silence has moved an input's time."""
        self._floors[tp] = max(self._floors[tp], floor)

    def wake(self, tp: TopicPartition) -> None:
        """Learn that an input is silent no more."""
        self._silent.pop(tp, None)

    def _time_of(self, table: Expiry) -> int:
        return self._time_with_silence() if table.waits_for_silence else self.time

    def _time_with_silence(self) -> int:
        return max(self.time, min(self._floors.values(), default=NO_TIME))
