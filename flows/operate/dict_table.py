"""Dictionary tables of one task: Python objects in front of the task's state, with an undo log per agent.

Values that can be changed in place (lists, dicts, …) are compared with their encoding when a record is done, so that
a change without an assignment counts as a write, as a user of a dictionary expects.
"""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from flows.errors import AgentError
from flows.operate.group_keys import MAX_KEY

_ATOMIC = frozenset(
    {int, float, str, bytes, bool, type(None), dt.datetime, dt.date, dt.timedelta, decimal.Decimal, uuid.UUID}
)
_CACHE_LIMIT = 200_000
_MAX_VALUE = 900_000


class _Unknown:
    """A key whose committed value was not read yet."""


class _Gone:
    """A key that has no value."""


UNKNOWN, GONE = _Unknown(), _Gone()


class KeyBytes(Protocol):
    """The canonical key bytes of a table."""

    def encode(self, key: Any) -> bytes: ...

    def decode(self, data: bytes) -> Any: ...


class CommittedRows(Protocol):
    """The committed rows of the task's tables, and the commit that is being made."""

    def get_many(self, table: str, keys: list[bytes], *, uncommitted: bool) -> list[bytes | None]: ...

    def scan(self, table: str, *, uncommitted: bool) -> Iterator[tuple[bytes, bytes]]: ...

    def stage(self, table: str, keys: list[bytes], values: Sequence[bytes | None]) -> None: ...


class DictTableState:
    """One dictionary table in one task, shared by the agents there."""

    def __init__(
        self,
        name: str,
        key_type: Any,
        value_type: Any,
        default: Callable[[], Any] | None,
        *,
        codec: KeyBytes,
        rows: CommittedRows,
        changed: Callable[[list[bytes], Sequence[bytes | None]], None],
    ) -> None:
        self.name, self.default = name, default
        self._key_class = key_type if isinstance(key_type, type) else tuple
        self._key_type, self._value_type = key_type, value_type
        self._codec, self._rows, self._changed = codec, rows, changed
        self._decode = msgspec.msgpack.Decoder(value_type).decode
        self._encode = msgspec.msgpack.Encoder().encode
        self.cache: dict[Any, Any] = {}
        self.bytes_of: dict[Any, bytes] = {}
        self.tracked: dict[Any, bytes] = {}
        self.dirty: dict[Any, None] = {}

    def load(self, key: Any) -> Any:
        """Read a key's committed value into the cache; GONE where there is none."""
        key_bytes = self.key_bytes(key)
        stored = self._rows.get_many(self.name, [key_bytes], uncommitted=True)[0]
        value: Any = GONE if stored is None else self._decode(stored)
        if stored is not None and value.__class__ not in _ATOMIC:
            self.tracked[key] = stored
        self.cache[key] = value
        return value

    def key_bytes(self, key: Any) -> bytes:
        """Encode a key, checking its type; raises `AgentError`."""
        found = self.bytes_of.get(key)
        if found is None:
            if key.__class__ is not self._key_class and not (self._key_class is float and key.__class__ is int):
                raise AgentError(
                    f"table {self.name!r}: key {key!r} is {type(key).__name__}, declared key={self._key_name}",
                    fix="use the declared type, or change the declaration",
                )
            encoded = self._codec.encode(key)
            if len(encoded) > MAX_KEY:
                raise AgentError(f"table {self.name!r}: a key of {len(encoded)} bytes, more than {MAX_KEY}")
            found = self.bytes_of[key] = encoded
        return found

    @property
    def _key_name(self) -> str:
        return getattr(self._key_type, "__name__", str(self._key_type))

    def check_value(self, value: Any) -> None:
        """Raise `AgentError` when a value is not of the declared type, or too large for a record."""
        if value.__class__ in (str, bytes) and len(value) > _MAX_VALUE:
            raise self._too_large(len(value))
        if value.__class__ is self._value_type or self._value_type is Any:
            return
        try:
            msgspec.convert(msgspec.to_builtins(value), self._value_type)
        except (msgspec.ValidationError, TypeError) as error:
            raise AgentError(
                f"table {self.name!r}: value {value!r} does not fit value={self._value_type}: {error}"
            ) from None

    def track(self, key: Any, value: Any) -> None:
        """Remember a changeable value as it is now."""
        encoded = self._encode(value)
        if len(encoded) > _MAX_VALUE:
            raise self._too_large(len(encoded))
        self.tracked[key] = encoded

    def _too_large(self, size: int) -> AgentError:
        return AgentError(
            f"table {self.name!r}: a value of {size} bytes, more than {_MAX_VALUE}", fix="split it over several keys"
        )

    def changed_in_place(self, key: Any) -> bool:
        """Tell whether a tracked value differs from what it was at the last savepoint."""
        value = self.cache.get(key, UNKNOWN)
        if value is UNKNOWN or value is GONE or key not in self.tracked:
            return False
        return self._encode(value) != self.tracked[key]

    def restore_value(self, key: Any) -> None:
        """Put a tracked value back to what it was at the last savepoint."""
        if key in self.tracked and key in self.cache:
            self.cache[key] = self._decode(self.tracked[key])

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Iterate over committed and own uncommitted rows, in key order."""
        rows: dict[bytes, Any] = {}
        for key_bytes, _ in self._rows.scan(self.name, uncommitted=True):
            rows[key_bytes] = self._codec.decode(key_bytes)
        for key in self.dirty:
            rows[self.key_bytes(key)] = key
        for key_bytes in sorted(rows):
            key = rows[key_bytes]
            value = self.cache.get(key, UNKNOWN)
            value = self.load(key) if value is UNKNOWN else value
            if value is not GONE:
                yield key, value

    def flush(self) -> None:
        """Stage what changed since the last commit (step 2 of the commit)."""
        if not self.dirty:
            return
        keys = [self.bytes_of[k] for k in self.dirty]
        cache, encode = self.cache, self._encode
        values = [None if (v := cache[k]) is GONE else encode(v) for k in self.dirty]
        self._rows.stage(self.name, keys, values)
        self._changed(keys, values)
        self.dirty = {}
        if len(cache) > _CACHE_LIMIT:
            self.cache.clear()
            self.bytes_of.clear()
            self.tracked.clear()


class TableView:
    """A dictionary table in the hands of one agent: every write can be taken back until the record is done."""

    __slots__ = ("_cache", "_state", "_touched", "_undo")

    def __init__(
        self, state: DictTableState, undo: list[tuple[DictTableState, Any, Any, bytes | None]], touched: dict[Any, Any]
    ) -> None:
        self._state, self._cache, self._undo, self._touched = state, state.cache, undo, touched

    def get(self, key: Any) -> Any:
        value = self._cache.get(key, UNKNOWN)
        if value.__class__ in _ATOMIC:
            return value
        return self._get_slowly(key, value)

    def _get_slowly(self, key: Any, value: Any) -> Any:
        state = self._state
        if value is UNKNOWN:
            value = state.load(key)
        if value is GONE:
            if state.default is None:
                raise KeyError(key)
            value = state.default()
            if value.__class__ in _ATOMIC:
                return value
            # A changeable default is kept aside until somebody has put something into it.
            state.cache[key] = value
            state.track(key, value)
            self._undo.append((state, key, GONE, None))
            state.bytes_of.setdefault(key, state.key_bytes(key))
            self._touched[(id(state), key)] = (state, key, True)
            return value
        if value.__class__ not in _ATOMIC:
            self._touched.setdefault((id(state), key), (state, key, False))
        return value

    def peek(self, key: Any, default: Any) -> Any:
        value = self._cache.get(key, UNKNOWN)
        if value is UNKNOWN:
            value = self._state.load(key)
        if value is GONE:
            return default
        return self.get(key)

    def set(self, key: Any, value: Any) -> None:
        state = self._state
        old = self._cache.get(key, UNKNOWN)
        if old is UNKNOWN:
            state.key_bytes(key)
        state.check_value(value)
        self._undo.append((state, key, old, state.tracked.get(key)))
        self._cache[key] = value
        state.dirty[key] = None
        if value.__class__ not in _ATOMIC:
            state.track(key, value)
            self._touched[(id(state), key)] = (state, key, False)

    def delete(self, key: Any) -> None:
        state = self._state
        old = self._cache.get(key, UNKNOWN)
        if old is UNKNOWN:
            old = state.load(key)
        if old is GONE:
            raise KeyError(key)
        self._undo.append((state, key, old, state.tracked.get(key)))
        self._cache[key] = GONE
        state.dirty[key] = None

    def items(self) -> Iterator[tuple[Any, Any]]:
        for key, value in self._state.items():
            if value.__class__ not in _ATOMIC:
                self._touched.setdefault((id(self._state), key), (self._state, key, False))
            yield key, value


class Savepoint:
    """What one agent did since its last finished record: kept, or taken back."""

    def __init__(self, states: dict[str, DictTableState]) -> None:
        self.undo: list[tuple[DictTableState, Any, Any, bytes | None]] = []
        self.touched: dict[Any, tuple[DictTableState, Any, bool]] = {}
        self.tables = {name: TableView(state, self.undo, self.touched) for name, state in states.items()}

    def keep(self) -> None:
        """Count changes in place as writes, and forget how to undo."""
        if self.touched:
            for state, key, was_default in self.touched.values():
                if state.changed_in_place(key):
                    state.dirty[key] = None
                    state.track(key, state.cache[key])
                elif was_default and key not in state.dirty:
                    state.cache[key] = GONE
                    state.tracked.pop(key, None)
            self.touched.clear()
        self.undo.clear()

    def roll_back(self) -> None:
        """Put every table back to where it was."""
        for state, key, _ in self.touched.values():
            state.restore_value(key)
        for state, key, old, tracked in reversed(self.undo):
            if old is UNKNOWN:
                state.cache.pop(key, None)
                state.dirty.pop(key, None)
                state.tracked.pop(key, None)
            elif tracked is not None and old is not GONE:
                state.tracked[key] = tracked
                state.restore_value(key)
            else:
                state.cache[key] = old
                state.tracked.pop(key, None)
        self.undo.clear()
        self.touched.clear()
