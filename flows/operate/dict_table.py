"""Dictionary tables of one task: Python objects in front of the task's state, shared by its agents (`dict_view`).

Values that can be changed in place (lists, dicts, …) are compared with their encoding when a record is done, so that
a change without an assignment counts as a write, as a user of a dictionary expects. What was written is from then on
what its bytes say (a tuple in a list[int] is a list, 1 in a float is 1.0), so that no restart shows in what agents see.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, get_args

import msgspec

from flows.errors import AgentError
from flows.operate.group_keys import MAX_KEY

_PLAIN = frozenset({int, float, str, bytes, bool, type(None)})
ATOMIC = _PLAIN | {dt.datetime, dt.date, dt.timedelta, decimal.Decimal, uuid.UUID}
SMALLEST, LARGEST = -(1 << 63), (1 << 64) - 1
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

    def get_uncommitted(self, table: str, key: bytes) -> bytes | None: ...

    def scan(
        self, table: str, start: bytes = b"", end: bytes | None = None, *, uncommitted: bool
    ) -> Iterator[tuple[bytes, bytes]]: ...

    def stage(self, table: str, keys: list[bytes], values: Sequence[bytes | None]) -> None: ...


class KeyCheck:
    """Check that keys are of the type that a table declares."""

    def __init__(self, table: str, declared: Any, what: str = "key") -> None:
        self._table, self._declared, self._what = table, declared, what
        self._class = declared if isinstance(declared, type) else tuple

    def __call__(self, key: Any) -> Any:
        """Return a key as one of the declared type; raises `AgentError`.

        What equals such a key is taken for it, since the cache does too: 1.0 or True where keys are int.
        """
        declared = self._class
        if isinstance(key, declared) and key == key:
            return key
        is_number = isinstance(key, int | float) and math.isfinite(key)
        if declared in (int, float, bool) and is_number and declared(key) == key:
            return declared(key)
        name = getattr(self._declared, "__name__", str(self._declared))
        what = self._what if self._what == "key" else "value"
        raise AgentError(
            f"table {self._table!r}: {self._what} {key!r} is {type(key).__name__}, declared {what}={name}",
            fix="use the declared type, or change the declaration",
        )


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
        self._checked = KeyCheck(name, key_type)
        self._value_type = value_type
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
        if value is GONE or value.__class__ in ATOMIC:
            self.tracked.pop(key, None)
        else:
            assert encoded is not None
            self.tracked[key] = encoded

    def is_closed(self, key: Any) -> bool:
        """Tell whether a key takes no more writes."""
        return False

    def key_bytes(self, key: Any) -> bytes:
        """Encode a key, checking its type; raises `AgentError`."""
        found = self.bytes_of.get(key)
        if found is None:
            encoded = self._codec.encode(self._proper(key))
            if len(encoded) > MAX_KEY:
                raise AgentError(f"table {self.name!r}: a key of {len(encoded)} bytes, more than {MAX_KEY}")
            found = self.bytes_of[key] = encoded
        return found

    def _proper(self, key: Any) -> Any:
        return self._checked(key)

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

    def as_read(self, value: Any, encoded: bytes) -> Any:
        """Return what the bytes of a value will be read as.

        Raises `AgentError` when they are not of the declared type, or come back as something else than was given.
        """
        try:
            found = self._decode(encoded)
        except msgspec.ValidationError as error:
            raise self._unfit(value, error) from None
        same = found.__class__ is value.__class__ or (found.__class__ in ATOMIC and found == value)
        if not same and not (found.__class__ is list and value.__class__ is tuple):
            raise AgentError(
                f"table {self.name!r}: a {type(value).__name__} would come back as a {type(found).__name__}",
                fix=f"declare the table's values, app.table({self.name!r}, value=…), or store what they say",
            )
        return found

    def as_stored(self, value: Any) -> Any:
        """Return a value that cannot be changed in place as it will be read again; raises `AgentError`."""
        if value.__class__ in self._exact and _is_harmless(value):
            return value
        return self.as_read(value, self.encode(value))

    def _unfit(self, value: Any, error: Exception) -> AgentError:
        shown = repr(value)
        shown = shown if len(shown) < 200 else shown[:200] + "…"
        return AgentError(f"table {self.name!r}: value {shown} does not fit value={self._value_type}: {error}")

    def reset(self, key: Any, value: Any, encoded: bytes | None) -> None:
        """Put the cache back to what it was; a changeable value, which may have been changed, to its encoding."""
        self.put(key, value if encoded is None else self._decode(encoded), encoded)

    def forget_absent(self, key: Any) -> None:
        """Count no write for a key that has no value, neither here nor committed."""
        if self.cache.get(key) is GONE and self._rows.get_uncommitted(self.name, self.key_bytes(key)) is None:
            self.dirty.pop(key, None)

    def forget(self, key: Any) -> None:
        """Put the cache back to not knowing a key."""
        self.cache.pop(key, None)
        self.dirty.pop(key, None)
        self.tracked.pop(key, None)

    def items(self, touched: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Iterate over committed and own uncommitted rows, in key order; `touched` keys may be new."""
        return self._merged(dict(self._rows.scan(self.name, uncommitted=True)), (*self.dirty, *touched))

    def _merged(self, rows: dict[bytes, bytes], changed: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        added = {self.key_bytes(key): b"" for key in changed}
        for key_bytes, stored in sorted({**added, **rows}.items()):
            key = self._codec.decode(key_bytes)
            value = self.cache.get(key, UNKNOWN)
            if value is UNKNOWN:
                value = self._decode(stored)
                if value.__class__ not in ATOMIC:
                    self.put(key, value, stored)
            if value is not GONE:
                yield key, value

    def flush(self) -> None:
        """Stage what changed since the last commit (step 2 of the commit)."""
        if not self.dirty:
            return
        keys = [self.key_bytes(k) for k in self.dirty]
        cache, tracked, encode = self.cache, self.tracked, self._encode
        values = [None if (v := cache[k]) is GONE else tracked.get(k) or encode(v) for k in self.dirty]
        self._rows.stage(self.name, keys, values)
        self._changed(keys, values)
        self.dirty = type(self.dirty)()
        if len(cache) > _CACHE_LIMIT:
            self.cache.clear()
            self.bytes_of.clear()
            self.tracked.clear()


def _is_harmless(value: Any) -> bool:
    """Tell quickly whether a plain value can be stored as it is."""
    if value.__class__ is int:
        return SMALLEST <= value <= LARGEST
    if value.__class__ is str:
        return len(value) <= _MAX_VALUE // 4 and value.isascii()
    return value.__class__ is not bytes or len(value) <= _MAX_VALUE // 4
