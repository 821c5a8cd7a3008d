"""Joins of two streams, by looking at every record again each time: plain Python over what was consumed, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

BEGINNING = float("-inf")


class Came(NamedTuple):
    """A record as it was sent to a side (0: left, 1: right); `at` is in seconds."""

    side: int
    key: str | None
    n: int
    at: float | None


Row = tuple[str | None, int | None, int | None, float | None]
"""Key, the left and the right record's number, event time."""


def in_order_of_time(records: Sequence[Came]) -> list[Came]:
    """Put what two inputs have into the order in which a task takes it: the smaller head first, else the left."""
    heads = [[r for r in records if r.side == side] for side in (0, 1)]
    found = []
    while any(heads):
        side = min((s for s in (0, 1) if heads[s]), key=lambda s: (_time(heads[s][0]), s))
        found.append(heads[side].pop(0))
    return found


def _time(record: Came) -> float:
    return BEGINNING if record.at is None else record.at


class StreamTime:
    """The minimum of both sides' largest event times, without a side that is silent."""

    def __init__(self) -> None:
        self.sides, self.silent, self.now = [BEGINNING, BEGINNING], [False, False], BEGINNING

    def see(self, record: Came) -> None:
        self.silent[record.side] = False
        self.sides[record.side] = max(self.sides[record.side], _time(record))
        self.now = max(self.now, min(t for t, s in zip(self.sides, self.silent, strict=True) if not s))


class WindowJoin:
    """Every pair within the window, except with what is late, or gone because its own window has closed."""

    def __init__(self, how: str, before: float, after: float, grace: float) -> None:
        self.kept = (how in ("left", "outer"), how == "outer")
        self.before, self.after, self.grace = before, after, grace
        self.time = StreamTime()
        self.rows: list[Row] = []
        self.late: list[Came] = []
        self._there: list[Came] = []
        self._matched: set[Came] = set()

    def take(self, record: Came) -> None:
        self.time.see(record)
        self.close(lambda end: end < self.time.now)
        if record.at is None:
            return
        if record.key is None:
            self._alone(record)
        elif self._end(record) < self.time.now:
            self.late.append(record)
        else:
            for other in self._there:
                if self._is_pair(record, other):
                    left, right = sorted((record, other))
                    self.rows.append((record.key, left.n, right.n, max(_time(left), _time(right))))
                    self._matched |= {record, other}
            self._there.append(record)

    def all_silent(self) -> None:
        """Time goes on until everything has closed."""
        self.time.silent = [True, True]
        self.time.now = max(self.time.now, *self.time.sides)
        self.close(lambda end: True)

    def close(self, is_over: Callable[[float], bool]) -> None:
        for record in [r for r in self._there if is_over(self._end(r))]:
            self._there.remove(record)
            if record not in self._matched:
                self._alone(record)

    def _end(self, record: Came) -> float:
        return _time(record) + (self.before if record.side else self.after) + self.grace

    def _is_pair(self, record: Came, other: Came) -> bool:
        if other.side == record.side or other.key != record.key:
            return False
        left, right = sorted((record, other))
        return _time(left) - self.before <= _time(right) <= _time(left) + self.after

    def _alone(self, record: Came) -> None:
        if self.kept[record.side]:
            numbers: list[Any] = [None, None]
            numbers[record.side] = record.n
            self.rows.append((record.key, numbers[0], numbers[1], record.at))


class AsofJoin(WindowJoin):
    """Each left record with the right one that is picked of all that are there when no other can come."""

    def __init__(self, how: str, direction: str, tolerance: float, grace: float, at_once: bool = False) -> None:
        before, after = 0 if direction == "forward" else tolerance, 0 if direction == "backward" else tolerance
        super().__init__(how, before, after, grace)
        self.direction, self.at_once = direction, at_once

    def take(self, record: Came) -> None:
        self.time.see(record)
        self.close(lambda end: end < self.time.now)
        if record.at is None:
            return
        if record.key is None:
            self._alone(record)
        elif self._end(record) < self.time.now:
            self.late.append(record)
        elif record.side == 0 and self.at_once:
            self._pick(record)
        else:
            self._there.append(record)

    def close(self, is_over: Callable[[float], bool]) -> None:
        for record in sorted((r for r in self._there if is_over(self._end(r))), key=lambda r: (self._end(r), r.side)):
            if record.side == 0:
                self._pick(record)
            self._there.remove(record)

    def _pick(self, record: Came) -> None:
        rights = [r for r in self._there if self._is_pair(record, r)]
        if not rights:
            self._alone(record)
            return
        far = {"backward": lambda r: -_time(r), "forward": _time, "nearest": lambda r: abs(_time(r) - _time(record))}
        best = min(rights, key=lambda r: (far[self.direction](r), _time(r), -r.n))
        self.rows.append((record.key, record.n, best.n, max(_time(record), _time(best))))
