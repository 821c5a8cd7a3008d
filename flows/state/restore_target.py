"""Where a restore puts what it replays: straight into a store, or over a read-only one into memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from flows.errors import StateError
from flows.state.base import Store, StoreWrite
from flows.state.keys import RESERVED_PREFIX
from flows.state.task_state import TaskState

Rows = Mapping[str, dict[bytes, bytes | None]]


class Target(Protocol):
    """What a restore needs of the place that it fills."""

    def positions(self) -> Mapping[str, int]: ...

    def last_write(self) -> float | None: ...

    def is_empty(self, table: str) -> bool:
        """Tell whether a table has no rows, or does not exist."""

    def create(self, table: str) -> None:
        """Add the table unless it exists."""

    def reset(self, table: str) -> None:
        """Drop the rows, the position and the metadata of a table."""

    def metadata(self, table: str) -> bytes | None: ...

    def set_metadata(self, table: str, value: bytes) -> None: ...

    def changelog_id(self, table: str) -> str | None: ...

    def set_changelog_id(self, table: str, found: str) -> None:
        """Keep the id of the topic that the table's position is of."""

    def apply(self, rows: Rows, positions: Mapping[str, int]) -> None:
        """Take rows of several tables, and the positions that they bring these to, at once."""


class StoreTarget:
    """Fill a store: what a task does before it runs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.positions = store.positions
        self.last_write = store.last_write
        self.metadata = store.metadata
        self.create = store.create_table
        self.changelog_id = store.changelog_id

    def is_empty(self, table: str) -> bool:
        return table not in self._store.tables() or next(self._store.scan(table), None) is None

    def reset(self, table: str) -> None:
        self._store.drop_table(table)
        self._store.create_table(table)

    def set_metadata(self, table: str, value: bytes) -> None:
        # Written before the position passes its record: a later restore may never see that record again.
        self._store.set_metadata([(table, value)])

    def set_changelog_id(self, table: str, found: str) -> None:
        self._store.set_changelog_ids([(table, found)])

    def apply(self, rows: Rows, positions: Mapping[str, int]) -> None:
        self._store.write(StoreWrite(puts=dict(rows), positions=dict(positions)))


class StateTarget:
    """Fill the write cache over a store that is not ours to write: what an offline query does."""

    def __init__(self, state: TaskState) -> None:
        self._state = state
        self._metadata: dict[str, bytes] = {}
        self.positions = state.positions
        self.last_write = state.store.last_write
        self.changelog_id = state.store.changelog_id

    def is_empty(self, table: str) -> bool:
        known = table in self._state.store.tables()
        return not known or next(self._state.scan(table), None) is None

    def create(self, table: str) -> None:
        if table not in self._state.store.tables():
            raise StateError(f"the state has no table {table!r}", fix="start its worker once, or name another")

    def reset(self, table: str) -> None:
        self._state.stage_range_delete(table, b"", RESERVED_PREFIX, keys=())
        self._state.promote({table: 0})

    def metadata(self, table: str) -> bytes | None:
        return self._metadata.get(table) or self._state.store.metadata(table)

    def set_metadata(self, table: str, value: bytes) -> None:
        self._metadata[table] = value

    def set_changelog_id(self, table: str, found: str) -> None:
        """Do nothing: the store is not ours to write, and the rows in memory end with the query."""

    def apply(self, rows: Rows, positions: Mapping[str, int]) -> None:
        for table, changed in rows.items():
            self._state.stage_rows(table, changed)
        self._state.promote(positions)


def target_of(place: Store | TaskState) -> Target:
    """Choose the way to fill a store or a task's state."""
    return StateTarget(place) if isinstance(place, TaskState) else StoreTarget(place)
