"""A dictionary table with windows, by the book: one dict, and a look at every row before each record."""

from __future__ import annotations

from typing import NamedTuple

from tests.oracle.windows import Windows


class Seen(NamedTuple):
    """What is known after a record: values of the newest window and of one before, and which windows were gone."""

    current: int
    before: int
    late: list[int]


class WindowedDict:
    """Counts by key and window; all times in microseconds."""

    def __init__(self, windows: Windows, expires: int) -> None:
        self.windows, self.expires = windows, expires
        self.rows: dict[tuple[int, str], int] = {}
        self.closed: list[tuple[int, str, int]] = []
        self.time: int | None = None

    def record(self, key: str, at: int, ago: int) -> Seen:
        """Count a record in each of its windows that is left."""
        self.time = at if self.time is None else max(at, self.time)
        for start, name in sorted(self.rows):
            if self._is_gone(start):
                self.closed.append((start, name, self.rows.pop((start, name))))
        late = []
        for start in self.windows.starts(at):
            if self._is_gone(start):
                late.append(start)
            else:
                self.rows[start, key] = self.rows.get((start, key), 0) + 1
        return Seen(self._newest(key, at), self._newest(key, at - ago), late)

    def _newest(self, key: str, at: int) -> int:
        return self.rows.get((max(self.windows.starts(at)), key), 0)

    def _is_gone(self, start: int) -> bool:
        assert self.time is not None
        return start + self.windows.size + self.expires <= self.time
