"""What the test driver hands out of tables."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from flows.compile.global_tables import GlobalCopy
from flows.compile.tables import TableDecoder
from flows.query.base import Change, Row
from flows.state.task_state import TaskState
from flows.testing_records import OutputRecord


class ChangeLog:
    """Remember every committed change of every table."""

    def __init__(self) -> None:
        self._changes: dict[str, list[Change]] = defaultdict(list)

    def wanted(self, table: str) -> bool:
        return True

    def publish(self, table: str, changes: list[Change]) -> None:
        if changes and changes[0].timestamp is not None:
            # A declared table's: in no order within a commit, so they get one that a test can rely on.
            changes = sorted(changes, key=_order)
        self._changes[table].extend(changes)

    def miss(self, table: str) -> None:
        """Do nothing: a test reads the rows whenever it wants to."""

    def take(self, table: str, keys: tuple[str, ...]) -> list[OutputRecord]:
        """Return the changes since the last call."""
        changes, self._changes[table] = self._changes[table], []
        return [
            OutputRecord(
                _key(c.key, keys),
                _value(c.row),
                c.timestamp,
                window=c.key.get("window_start"),
                window_end=c.key.get("window_end"),
            )
            for c in changes
        ]


class TableReader:
    """The committed rows of a table, over all its tasks, or those of the worker's copy of a global one."""

    def __init__(
        self, decoder: TableDecoder, table: str, states: list[TaskState], copy: GlobalCopy | None = None
    ) -> None:
        self._decoder, self._table, self._states, self._copy = decoder, table, states, copy

    def rows(self) -> list[Row]:
        """Return all rows as dicts: key columns, `window_start` and `window_end` in seconds, aggregates."""
        entries = [] if self._copy is None else list(self._copy.entries())
        for state in self._states:
            if self._table in state.store.tables():
                entries += list(state.scan(self._table))
        return self._decoder.rows(list(self._decoder.visible(sorted(entries))))

    def get(self, key: Any, window: float | None = None) -> Any:
        """Return the row of a key (a tuple where there are several) and window start, None where there is none.

        Without `window` the newest is returned. Of a dictionary table it is the value, of a set table the key's set.
        """
        keys = self._decoder.info.keys
        if self._decoder.info.kind == "set":
            rows = [row for row in self.rows() if row["key"] == key]
            newest = max((row.get("window_start", 0.0) for row in rows), default=None) if window is None else window
            return {row["value"] for row in rows if row.get("window_start", newest) == newest}
        found = [r for r in self.rows() if _key(r, keys) == key and (window is None or r.get("window_start") == window)]
        if not found:
            return None
        return found[-1]["value"] if self._decoder.info.kind == "dictionary" else found[-1]

    def __len__(self) -> int:
        return len(self.rows())


def _order(change: Change) -> tuple[Any, ...]:
    """Order by window and key; the sessions that were merged into others come before those."""
    return change.row is not None, change.key.get("window_start", 0.0), *map(str, change.key.values())


def _key(row: Row, keys: tuple[str, ...]) -> Any:
    parts = tuple(row[k] for k in keys)
    return parts[0] if len(parts) == 1 else parts


def _value(row: Row | None) -> Any:
    if row is not None and row.keys() == {"key", "value"}:
        return row["value"]
    return row
