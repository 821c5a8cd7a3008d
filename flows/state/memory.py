"""The memory store: the contract of a task's store without a disk, for tests and for state that may be lost."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence

from flows.clock import Clock, SystemClock
from flows.errors import StateError
from flows.state.base import Rows, StoreWrite
from flows.state.ordered import OrderedRows

_Tables = dict[str, OrderedRows[bytes]]


class MemoryStore:
    """Keep a task's tables in dicts; `close` keeps the rows, so that a test can open the same store again."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._last_write: float | None = None
        self._tables: _Tables = {}
        self._positions: dict[str, int] = {}
        self._metadata: dict[str, bytes] = {}
        self._ids: dict[str, str] = {}
        self._lock = threading.Lock()  # a flush writes in a thread while the loop reads

    def tables(self) -> set[str]:
        return set(self._tables)

    def create_table(self, name: str) -> None:
        self._tables.setdefault(name, OrderedRows())

    def drop_table(self, name: str) -> None:
        self._tables.pop(name, None)
        self._positions.pop(name, None)
        self._metadata.pop(name, None)
        self._ids.pop(name, None)

    def get_many(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        with self._lock:
            return list(map(rows_of(self._tables, table).rows.get, keys))

    def scan(self, table: str, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False) -> Rows:
        with self._lock:
            return iter(rows_of(self._tables, table).between(start, end, reverse=reverse))

    def write(self, change: StoreWrite) -> None:
        for table in {*change.puts, *change.ranges, *change.positions}:
            rows_of(self._tables, table)  # an unknown table is found before anything is applied
        with self._lock:
            self._apply(change)

    def _apply(self, change: StoreWrite) -> None:
        for table, ranges in change.ranges.items():
            for start, end in ranges:
                self._tables[table].remove_range(start, end)
        for table, puts in change.puts.items():
            self._tables[table].update({key: value for key, value in puts.items() if value is not None})
            self._tables[table].remove([key for key, value in puts.items() if value is None])
        self._positions.update(change.positions)
        self._last_write = self._clock.now()

    def positions(self) -> Mapping[str, int]:
        return dict(self._positions)

    def last_write(self) -> float | None:
        return self._last_write

    def metadata(self, table: str) -> bytes | None:
        return self._metadata.get(table)

    def set_metadata(self, items: Iterable[tuple[str, bytes]]) -> None:
        for table, value in items:
            rows_of(self._tables, table)
            self._metadata[table] = value

    def changelog_id(self, table: str) -> str | None:
        return self._ids.get(table)

    def set_changelog_ids(self, items: Iterable[tuple[str, str]]) -> None:
        for table, found in items:
            rows_of(self._tables, table)
            self._ids[table] = found

    def snapshot(self) -> MemorySnapshot:
        with self._lock:
            return MemorySnapshot({name: rows.share() for name, rows in self._tables.items()})

    def size(self) -> int:
        return sum(len(key) + len(value) for table in self._tables.values() for key, value in table.rows.items())

    def flush(self) -> None: ...

    def close(self) -> None: ...


class MemorySnapshot:
    """The tables of a memory store as they were; the store copies a table before it changes it."""

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def scan(self, table: str, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False) -> Rows:
        return iter(rows_of(self._tables, table).between(start, end, reverse=reverse))

    def get_many(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        return list(map(rows_of(self._tables, table).rows.get, keys))

    def close(self) -> None:
        self._tables = {}


def rows_of(tables: _Tables, name: str) -> OrderedRows[bytes]:
    """Find a table's rows; raises `StateError` for a table that does not exist."""
    try:
        return tables[name]
    except KeyError:
        known = ", ".join(sorted(tables)) or "none"
        raise StateError(f"the store has no table {name!r} (it has: {known})", fix="create it first") from None
