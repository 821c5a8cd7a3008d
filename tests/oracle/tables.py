"""A naive declared table: the full history in, by plain Python, what every reader of the table must see.

No batches, no commits, no state: for each partition in offset order, the stream time is the largest event time so far,
the record's own included; a window whose end + grace it has reached is closed for the record.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.oracle.aggregates import Event
from tests.oracle.windows import CalendarWindows, Windows

Aligned = Windows | CalendarWindows

BEFORE = -(2**63)
"""The stream time before the first record that has a time."""


class Sent(NamedTuple):
    """A record of a history: where it went, its event time in microseconds (None: it has none), and its fields."""

    partition: int
    time: int | None
    fields: dict[str, Any]


class Late(NamedTuple):
    """A record that came too late for these windows."""

    fields: dict[str, Any]
    time: int
    windows: tuple[int, ...]


class Refused(NamedTuple):
    """A record that cannot be grouped: its partition, offset, and why."""

    partition: int
    offset: int
    why: str


class Group(NamedTuple):
    """A row of the table: its key and window (None without windows)."""

    key: tuple[Any, ...]
    window: int | None
    end: int | None = None


class TableOracle:
    """What a table must show after a history."""

    def __init__(
        self,
        keys: Sequence[str],
        windows: Aligned | None,
        aggregates: Mapping[str, Callable[[Sequence[Event]], Any]],
        keep: Callable[[dict[str, Any]], bool] = lambda fields: True,
    ) -> None:
        self.keys, self.windows, self.aggregates, self.keep = keys, windows, aggregates, keep
        self.late: list[Late] = []
        self.refused: list[Refused] = []
        self.stream_time: dict[int, int] = defaultdict(lambda: BEFORE)
        self._events: dict[Group, list[Event]] = defaultdict(list)
        self._home: dict[Group, int] = {}
        self._ends: dict[int, int] = defaultdict(int)

    def add(self, sent: Sent) -> None:
        """Take the next record of a partition."""
        offset = self._ends[sent.partition]
        self._ends[sent.partition] = offset + 1
        now = self.stream_time[sent.partition]
        if sent.time is not None:
            now = self.stream_time[sent.partition] = max(now, sent.time)
        if not self.keep(sent.fields):
            return
        key = tuple(sent.fields[k] for k in self.keys)
        why = next((f"null key {name!r}" for name, part in zip(self.keys, key, strict=True) if part is None), None)
        if why is None and sent.time is None and self.windows is not None:
            why = "no event time"
        if why is not None:
            self.refused.append(Refused(sent.partition, offset, why))
            return
        event = Event(str(key), now if sent.time is None else sent.time, sent.partition, offset, sent.fields)
        if self.windows is None:
            self._put(Group(key, None), event)
        else:
            self._put_into_windows(key, event, now, self.windows)

    def _put_into_windows(self, key: tuple[Any, ...], event: Event, now: int, windows: Aligned) -> None:
        closed = []
        for start in windows.starts(event.time):
            if windows.end(start) + windows.grace <= now:
                closed.append(start)
            else:
                self._put(Group(key, start, windows.end(start)), event)
        if closed:
            self.late.append(Late(event.values, event.time, tuple(closed)))

    def _put(self, group: Group, event: Event) -> None:
        self._events[group].append(event)
        self._home.setdefault(group, event.partition)

    def rows(self) -> dict[Group, dict[str, Any]]:
        """Return the rows that readers see."""
        return {g: self._results(g) for g in self._events if self.is_closed(g) and not self.is_expired(g)}

    def every_row(self) -> dict[Group, dict[str, Any]]:
        """Return all rows that readers have ever seen, in their last form."""
        return {g: self._results(g) for g in self._events if self.is_closed(g)}

    def is_closed(self, group: Group) -> bool:
        """Tell whether a row is shown: always, but in tables that wait for the end of their windows."""
        if self.windows is None or not self.windows.closes or group.window is None:
            return True
        return self.windows.end(group.window) + self.windows.grace <= self.stream_time[self._home[group]]

    def is_expired(self, group: Group) -> bool:
        """Tell whether a row's retention is over."""
        if self.windows is None or self.windows.retention is None or group.window is None:
            return False
        return self.windows.end(group.window) + self.windows.retention <= self.stream_time[self._home[group]]

    def _results(self, group: Group) -> dict[str, Any]:
        return {name: compute(self._events[group]) for name, compute in self.aggregates.items()}
