"""Dictionary tables of one task: Python objects in front of the task's state, with an undo log per agent.

Values that can be changed in place (lists, dicts, …) are compared with their encoding when a record is done, so that
a change without an assignment counts as a write, as a user of a dictionary expects. What was written is from then on
what its bytes say (a tuple in a list[int] is a list, 1 in a float is 1.0), so that no restart shows in what agents see.
"""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, get_args

import msgspec

from flows.errors import AgentError
from flows.operate.group_keys import MAX_KEY

_PLAIN = frozenset({int, float, str, bytes, bool, type(None)})
_ATOMIC = _PLAIN | {dt.datetime, dt.date, dt.timedelta, decimal.Decimal, uuid.UUID}
_SMALLEST, _LARGEST = -(1 << 63), (1 << 64) - 1
_CACHE_LIMIT = 200_000
_MAX_VALUE = 900_000

READ, DEFAULT, WRITTEN = range(3)
"""How a changeable value came into an agent's hands: it was there, made by the table's default, or assigned."""


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

    def get_uncommitted(self, table: str, key: bytes) -> bytes | None: ...

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
        self._exact = _PLAIN if value_type is Any else _PLAIN.intersection(get_args(value_type) or (value_type,))
        self.counts = int in self._exact
        self._decode = msgspec.msgpack.Decoder(value_type).decode
        self._encode = msgspec.msgpack.Encoder().encode
        self.cache: dict[Any, Any] = {}
        self.bytes_of: dict[Any, bytes] = {}
        self.tracked: dict[Any, bytes] = {}
        self.dirty: dict[Any, None] = {}

    def load(self, key: Any) -> Any:
        """Read a key's committed value into the cache; GONE where there is none."""
        stored = self._rows.get_uncommitted(self.name, self.key_bytes(key))
        value: Any = GONE if stored is None else self._decode(stored)
        self.put(key, value, stored)
        return value

    def put(self, key: Any, value: Any, encoded: bytes | None) -> None:
        """Set what the cache holds for a key; of a changeable value the encoding too."""
        self.cache[key] = value
        if value is GONE or value.__class__ in _ATOMIC:
            self.tracked.pop(key, None)
        else:
            assert encoded is not None
            self.tracked[key] = encoded

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

    def encode(self, value: Any) -> bytes:
        """Return a value's bytes; raises `AgentError` for one that has none, or too many."""
        try:
            encoded = self._encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise self._unfit(value, error) from None
        if len(encoded) > _MAX_VALUE:
            raise AgentError(
                f"table {self.name!r}: a value of {len(encoded)} bytes, more than {_MAX_VALUE}",
                fix="split it over several keys",
            )
        return encoded

    def decode(self, encoded: bytes) -> Any:
        """Return the value that bytes stand for; raises `AgentError` when it is not of the declared type."""
        try:
            return self._decode(encoded)
        except msgspec.ValidationError as error:
            raise self._unfit(msgspec.msgpack.decode(encoded), error) from None

    def as_stored(self, value: Any) -> Any:
        """Return a value that cannot be changed in place as it will be read again; raises `AgentError`."""
        if value.__class__ in self._exact and _is_harmless(value):
            return value
        return self.decode(self.encode(value))

    def _unfit(self, value: Any, error: Exception) -> AgentError:
        shown = repr(value)
        shown = shown if len(shown) < 200 else shown[:200] + "…"
        return AgentError(f"table {self.name!r}: value {shown} does not fit value={self._value_type}: {error}")

    def restore_value(self, key: Any) -> None:
        """Put a changeable value back to what it was at the last savepoint."""
        if key in self.tracked and key in self.cache:
            self.cache[key] = self._decode(self.tracked[key])

    def items(self, touched: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Iterate over committed and own uncommitted rows, in key order; `touched` keys may be new."""
        rows = dict(self._rows.scan(self.name, uncommitted=True))
        added = {self.key_bytes(key): b"" for key in (*self.dirty, *touched)}
        for key_bytes, stored in sorted({**added, **rows}.items()):
            key = self._codec.decode(key_bytes)
            value = self.cache.get(key, UNKNOWN)
            if value is UNKNOWN:
                value = self._decode(stored)
                if value.__class__ not in _ATOMIC:
                    self.put(key, value, stored)
            if value is not GONE:
                yield key, value

    def flush(self) -> None:
        """Stage what changed since the last commit (step 2 of the commit)."""
        if not self.dirty:
            return
        keys = [self.bytes_of[k] for k in self.dirty]
        cache, tracked, encode = self.cache, self.tracked, self._encode
        values = [None if (v := cache[k]) is GONE else tracked.get(k) or encode(v) for k in self.dirty]
        self._rows.stage(self.name, keys, values)
        self._changed(keys, values)
        self.dirty = {}
        if len(cache) > _CACHE_LIMIT:
            self.cache.clear()
            self.bytes_of.clear()
            self.tracked.clear()


def _is_harmless(value: Any) -> bool:
    """Tell quickly whether a plain value can be stored as it is."""
    if value.__class__ is int:
        return _SMALLEST <= value <= _LARGEST
    if value.__class__ is str:
        return len(value) <= _MAX_VALUE // 4 and value.isascii()
    return value.__class__ is not bytes or len(value) <= _MAX_VALUE // 4


Undo = tuple[DictTableState, Any, Any, bytes | None]
Touched = dict[tuple[int, Any], tuple[DictTableState, Any, int]]


class TableView:
    """A dictionary table in the hands of one agent: every write can be taken back until the record is done."""

    __slots__ = ("_cache", "_state", "_touched", "_undo")

    def __init__(self, state: DictTableState, undo: list[Undo], touched: Touched) -> None:
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
            return self._default(key)
        if value.__class__ not in _ATOMIC:
            self._touched.setdefault((id(state), key), (state, key, READ))
        return value

    def _default(self, key: Any) -> Any:
        state = self._state
        if state.default is None:
            raise KeyError(key)
        value = state.default()
        if value.__class__ in _ATOMIC:
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
        if old.__class__ is int and value.__class__ is int and state.counts and _SMALLEST <= value <= _LARGEST:
            # What most agents do for each record: count.
            self._undo.append((state, key, old, None))
            self._cache[key] = value
            state.dirty[key] = None
            return
        if old is UNKNOWN:
            state.key_bytes(key)
        if value.__class__ in _ATOMIC:
            value, encoded = state.as_stored(value), None
        else:
            encoded = state.encode(value)
            state.decode(encoded)
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
        state = self._state
        mine = [key for owner, key, _ in self._touched.values() if owner is state]
        for key, value in state.items(mine):
            if self._is_untouched_default(key):
                continue
            if value.__class__ not in _ATOMIC:
                self._touched.setdefault((id(state), key), (state, key, READ))
            yield key, value

    def _is_untouched_default(self, key: Any) -> bool:
        """Tell whether a key has only been read, and so given the table's default."""
        state = self._state
        found = self._touched.get((id(state), key))
        if found is None or found[2] != DEFAULT:
            return False
        value = self._cache[key]
        return value is not GONE and value.__class__ not in _ATOMIC and state.encode(value) == state.tracked[key]


class Savepoint:
    """What one agent did since its last finished record: kept, or taken back."""

    def __init__(self, states: dict[str, DictTableState]) -> None:
        self.undo: list[Undo] = []
        self.touched: Touched = {}
        self.tables = {name: TableView(state, self.undo, self.touched) for name, state in states.items()}

    def keep(self) -> None:
        """Count changes in place as writes, and forget how to undo. Raises `AgentError`; nothing is kept then."""
        if self.touched:
            for state, key, value, encoded in [kept for item in self.touched.values() if (kept := _outcome(*item))]:
                state.put(key, value, encoded)
                if value is not GONE:
                    state.dirty[key] = None
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
            else:
                state.put(key, old if tracked is None else state.decode(tracked), tracked)
        self.undo.clear()
        self.touched.clear()


def _outcome(state: DictTableState, key: Any, how: int) -> tuple[DictTableState, Any, Any, bytes | None] | None:
    """Return what becomes of a changeable value that an agent had in its hands; None where nothing does."""
    value = state.cache.get(key, UNKNOWN)
    if value is UNKNOWN or value is GONE or value.__class__ in _ATOMIC:
        return None
    encoded = state.encode(value)
    if how != WRITTEN and encoded == state.tracked[key]:
        return (state, key, GONE, None) if how == DEFAULT else None
    return state, key, state.decode(encoded), encoded
