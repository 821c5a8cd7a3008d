"""Dictionary tables in the hands of one agent: what it writes is kept or taken back, record by record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flows.operate.dict_table import ATOMIC, GONE, LARGEST, SMALLEST, UNKNOWN, DictTableState
from flows.operate.grouped_table import GroupedTableState, WindowedTableState

READ, DEFAULT, WRITTEN = range(3)
"""How a changeable value came into an agent's hands: it was there, made by the table's default, or assigned."""

Undo = tuple[DictTableState, Any, Any, bytes | None]
Touched = dict[tuple[int, Any], tuple[DictTableState, Any, int]]
Late = dict[str, set[int]]
"""Of each table, the starts of the windows that something came too late for, in microseconds."""


class TableView:
    """A dictionary table in the hands of one agent: every write can be taken back until the record is done."""

    __slots__ = ("_cache", "_state", "_touched", "_undo")

    def __init__(self, state: DictTableState, undo: list[Undo], touched: Touched) -> None:
        self._state, self._cache, self._undo, self._touched = state, state.cache, undo, touched

    def get(self, key: Any) -> Any:
        value = self._cache.get(key, UNKNOWN)
        if value.__class__ in ATOMIC:
            return value
        return self._get_slowly(key, value)

    def _get_slowly(self, key: Any, value: Any) -> Any:
        state = self._state
        if value is UNKNOWN:
            value = state.load(key)
        if value is GONE:
            return self._default(key)
        if value.__class__ not in ATOMIC:
            self._touched.setdefault((id(state), key), (state, key, READ))
        return value

    def _default(self, key: Any) -> Any:
        state = self._state
        if state.default is None:
            raise KeyError(key)
        value = state.default()
        if value.__class__ in ATOMIC:
            return value
        # A changeable default is kept aside until somebody has put something into it.
        self._undo.append((state, key, GONE, None))
        state.put(key, value, state.encode(value))
        self._touched[(id(state), key)] = (state, key, DEFAULT)
        return value

    def peek(self, key: Any, default: Any) -> Any:
        value = self._cache.get(key, UNKNOWN)
        if value is UNKNOWN:
            value = self._state.load(key)
        if value is GONE or self._is_untouched_default(key):
            return default
        return self.get(key)

    def set(self, key: Any, value: Any) -> None:
        state = self._state
        old = self._cache.get(key, UNKNOWN)
        if old.__class__ is int and value.__class__ is int and state.counts and SMALLEST <= value <= LARGEST:
            # What most agents do for each record: count.
            self._undo.append((state, key, old, None))
            self._cache[key] = value
            state.dirty[key] = None
            return
        if old is UNKNOWN:
            state.key_bytes(key)
        if value.__class__ in ATOMIC:
            value, encoded = state.as_stored(value), None
        else:
            encoded = state.encode(value)
            state.as_read(value, encoded)
            self._touched[(id(state), key)] = (state, key, WRITTEN)
        self._undo.append((state, key, old, state.tracked.get(key)))
        state.dirty[key] = None
        state.put(key, value, encoded)

    def delete(self, key: Any) -> None:
        state = self._state
        old = self._cache.get(key, UNKNOWN)
        if old is UNKNOWN:
            old = state.load(key)
        if old is GONE or self._is_untouched_default(key):
            raise KeyError(key)
        self._undo.append((state, key, old, state.tracked.get(key)))
        state.put(key, GONE, None)
        state.dirty[key] = None

    def items(self) -> Iterator[tuple[Any, Any]]:
        return self._kept(self._state.items(self._mine()))

    def members(self, group: Any) -> Iterator[tuple[Any, Any]]:
        state = self._state
        assert isinstance(state, GroupedTableState)
        return self._kept(state.members(group, self._mine()))

    def _mine(self) -> list[Any]:
        return [key for owner, key, _ in self._touched.values() if owner is self._state]

    def _kept(self, rows: Iterator[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        state = self._state
        for key, value in rows:
            if self._is_untouched_default(key):
                continue
            if value.__class__ not in ATOMIC:
                self._touched.setdefault((id(state), key), (state, key, READ))
            yield key, value

    def _is_untouched_default(self, key: Any) -> bool:
        """Tell whether a key has only been read, and so given the table's default."""
        state = self._state
        found = self._touched.get((id(state), key)) if self._touched else None
        if found is None or found[2] != DEFAULT:
            return False
        value = self._cache[key]
        return value is not GONE and value.__class__ not in ATOMIC and state.encode(value) == state.tracked[key]


class WindowedTableView(TableView):
    """A dictionary table with windows: what is written to one that has expired is late."""

    __slots__ = ("_late",)

    def __init__(self, state: WindowedTableState, undo: list[Undo], touched: Touched, late: Late) -> None:
        super().__init__(state, undo, touched)
        self._late = late

    def set(self, key: Any, value: Any) -> None:
        state = self._state
        assert isinstance(state, WindowedTableState)
        if state.is_closed(key):
            self._late.setdefault(state.name, set()).add(state.start_of(key))
        else:
            super().set(key, value)


class Savepoint:
    """What one agent did since its last finished record: kept, or taken back."""

    def __init__(self, states: dict[str, DictTableState]) -> None:
        self.undo: list[Undo] = []
        self.touched: Touched = {}
        self.late: Late = {}
        self.tables = {name: self._view(state) for name, state in states.items()}

    def _view(self, state: DictTableState) -> TableView:
        if isinstance(state, WindowedTableState):
            return WindowedTableView(state, self.undo, self.touched, self.late)
        return TableView(state, self.undo, self.touched)

    def keep(self) -> None:
        """Count changes in place as writes, and forget how to undo. Raises `AgentError`; nothing is kept then.

        What came too late stays in `late` for the caller.
        """
        if self.touched:
            for state, key, value, encoded in [kept for item in self.touched.values() if (kept := _outcome(*item))]:
                if value is not GONE and state.is_closed(key):
                    self.late.setdefault(state.name, set()).add(key[0])
                    state.put(key, GONE, None)
                    continue
                state.put(key, value, encoded)
                if value is not GONE:
                    state.dirty[key] = None
            self.touched.clear()
        self.undo.clear()

    def roll_back(self) -> None:
        """Put every table back to where it was."""
        for state, key, _ in self.touched.values():
            if key in state.tracked:
                state.reset(key, None, state.tracked[key])
        for state, key, old, tracked in reversed(self.undo):
            if old is UNKNOWN:
                state.forget(key)
            else:
                state.reset(key, old, tracked)
        # Only now: on the way back a key may have been without a value that an earlier record had given it.
        for state, key, *_ in self.undo:
            state.forget_absent(key)
        self.undo.clear()
        self.touched.clear()
        self.late.clear()


def _outcome(state: DictTableState, key: Any, how: int) -> tuple[DictTableState, Any, Any, bytes | None] | None:
    """Return what becomes of a changeable value that an agent had in its hands; None where nothing does."""
    value = state.cache.get(key, UNKNOWN)
    if value is UNKNOWN or value is GONE or value.__class__ in ATOMIC:
        return None
    encoded = state.encode(value)
    if how != WRITTEN and encoded == state.tracked[key]:
        return (state, key, GONE, None) if how == DEFAULT else None
    return state, key, state.as_read(value, encoded), encoded
