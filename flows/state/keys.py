"""The one canonical, ordered encoding of state keys; changelog records and stores carry these bytes.

    key      =  [window] part part …
    window   =  8 bytes: the window's start in microseconds since the epoch, plus 2^63, big-endian; 16 bytes of the \
same kind where windows differ in more: sessions by their last and first record, count windows by time and number
    part     =  a tag byte and a body that ends by itself

The window comes first, so that a window is one range scan and an expired one one `delete_range`. The number and
the declared types of the parts belong to the table, the tags to the bytes: a key can be read without its table.

| type | tag | body |
|---|---|---|
| None | 05 | none |
| False, True | 10, 11 | none |
| int (64 bits, signed) | 20 | 8 bytes: value + 2^63, big-endian |
| float | 28 | 8 bytes: IEEE 754, all bits flipped when negative, else the sign bit; -0.0 is 0.0; NaN is ff × 8, last |
| Decimal | 30 | 00 -inf, 02 zero, 04 inf; 03: 8 bytes magnitude + 2^63, digits + 1 without trailing zeros, 00; \
01: the same, flipped |
| bytes, str (UTF-8) | 40, 50 | the bytes, each 00 as 00 ff, then 00 01 |
| date | 60 | 4 bytes: the proleptic ordinal, big-endian |
| datetime naive, aware | 61, 62 | 8 bytes: microseconds since the epoch (UTC when aware) + 2^63, big-endian |
| UUID | 68 | its 16 bytes |
| tuple | 70 | its parts, then 00 |
| Enum | – | as its value |

Within a type bytes order as Python does; None sorts before all. Equal keys of one declared type have equal bytes.
An encoded key never begins with ff ff: that is `RESERVED_PREFIX`, for what is not a row in a changelog.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from operator import itemgetter
from types import NoneType, UnionType
from typing import Any, Union, cast, get_args, get_origin
from uuid import UUID

from flows.errors import AgentError, DeclarationError, IncompatibleState
from flows.state.key_columns import Pieces, bounded_cache, join_pieces, pieces_of
from flows.state.key_parts import ENCODERS, END, SIGN, STR, damaged, decode_part, encode_part

RESERVED_PREFIX = b"\xff\xff"

_WINDOW_TOP = 0xFFFF << 48
_LAST_TWO = itemgetter(slice(-2, None))
_SIMPLE = (str, bytes, int, float, bool, datetime, date, Decimal, UUID, tuple, object)


class KeyCodec:
    """Encode and decode the keys of one table: columns of these types, behind the window's numbers if `windowed`.

    Most windows are one number, their start; with `windowed=2` there are two, which only whole columns can have.

    A key of one column is the bare value, of several a tuple. Any column may be None. `object` takes every type.

    >>> codec = KeyCodec((str, int))
    >>> codec.decode(codec.encode(("a", 7)))
    ('a', 7)
    """

    def __init__(self, types: tuple[Any, ...], windowed: int = False) -> None:
        self.types = tuple(_plain_type(declared) for declared in types)
        self.windowed = bool(windowed)
        self.window_bytes = 8 * windowed
        self._coerce = tuple(_coercion(column) for column in self.types)
        self._enums = [(i, column) for i, column in enumerate(self.types) if issubclass(column, Enum)]
        # A bare key of exactly the declared type, what agents use most, goes straight to its encoder.
        self._only = self.types[0] if len(self.types) == 1 and windowed < 2 else None
        self._encode_only = ENCODERS.get(self.types[0], encode_part)
        self._windows = bounded_cache(encode_window)
        self._window_values = bounded_cache(_decode_window)
        self._tails = bounded_cache(self._decode_tail)

    def encode(self, key: Any, window: int | None = None) -> bytes:
        """Return the bytes of a key; `window` is its start in microseconds. Raises `AgentError` for a wrong type."""
        if type(key) is self._only and self.windowed is (window is not None):
            part = self._encode_only(key)
            return part if window is None else cast(bytes, self._windows[window] + part)
        parts = (key,) if len(self.types) == 1 else key
        if not isinstance(parts, tuple) or len(parts) != len(self.types):
            raise AgentError(
                f"the key {key!r} does not have the columns {self._names()}",
                fix=f"give a tuple of {len(self.types)} values",
            )
        return self.prefix(*parts, window=window)

    def prefix(self, *parts: Any, window: int | None = None) -> bytes:
        """Return the bytes that all keys with these leading parts begin with; scan up to `prefix_end` of it."""
        if self.windowed != (window is not None) or self.window_bytes > 8:
            expected = "a window start is needed" if self.windowed else "this table has no windows"
            raise AgentError(f"the key {parts!r} came with window {window!r}: {expected}")
        if len(parts) > len(self.types):
            raise AgentError(f"{parts!r} has more parts than the columns {self._names()}")
        encoded = [encode_part(coerce(part)) for coerce, part in zip(self._coerce, parts, strict=False)]
        return b"".join(encoded if window is None else [self._windows[window], *encoded])

    def decode(self, encoded: bytes) -> Any:
        """Return the key of these bytes, without its window. Raises `StateCorrupt` when they are no such key."""
        parts = self._tails[encoded[self.window_bytes :]]
        return parts[0] if len(parts) == 1 else parts

    def window(self, encoded: bytes) -> int:
        """Return the window start of an encoded key, in microseconds; of two numbers the first."""
        return _decode_window(encoded[:8])

    def numbers(self, keys: Sequence[bytes], place: int = 0) -> list[int]:
        """Return the first or second numbers of the windows of encoded keys."""
        start, end = 8 * place, 8 * place + 8
        return [self._window_values[key[start:end]] for key in keys]

    def window_range(self, start: int, end: int) -> tuple[bytes, bytes]:
        """Return the byte range of all keys whose window (its first number) begins in `[start, end)` microseconds."""
        return encode_window(start), encode_window(end)

    def encode_columns(self, columns: Sequence[Sequence[Any]], *windows: Sequence[int]) -> list[bytes]:
        """Encode many keys at once, column by column; the same bytes as `encode` gives for each row."""
        if len(columns) != len(self.types) or self.window_bytes != 8 * len(windows):
            raise AgentError(f"{len(columns)} key columns, {len(windows)} of windows; not {self._names()}")
        count = len(columns[0])
        if any(len(column) != count for column in (*columns, *windows)):
            raise AgentError(f"key columns of different lengths: {[len(column) for column in columns]}")
        pieces: Pieces = [map(self._windows.__getitem__, numbers) for numbers in windows]
        for column_type, coerce, column in zip(self.types, self._coerce, columns, strict=True):
            pieces += pieces_of(column_type, coerce, column)
        return join_pieces(pieces, count)

    def decode_columns(self, keys: Sequence[bytes]) -> tuple[list[list[Any]], list[int] | None]:
        """Decode many keys into one list a column, and the list of window starts (None without windows)."""
        windows = self.numbers(keys) if self.windowed else None
        if self.types == (str,) and (texts := self._decode_texts(keys)) is not None:
            return [texts], windows
        rows = [self._tails[key[self.window_bytes :]] for key in keys]
        return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in self.types], windows

    def _decode_texts(self, keys: Sequence[bytes]) -> list[str] | None:
        """Decode a single column of strings in one go; None when one of them needs the careful way."""
        skip = self.window_bytes + 1
        try:
            tags = set(map(itemgetter(skip - 1), keys))
        except IndexError:
            return None
        if tags != {STR[0]} or set(map(_LAST_TWO, keys)) != {END}:
            return None
        joined = b"\x00".join([key[skip:-2] for key in keys])
        if joined.count(b"\x00") != len(keys) - 1:
            return None
        try:
            return joined.decode().split("\x00")
        except UnicodeDecodeError:
            return None

    def _decode_tail(self, tail: bytes) -> tuple[Any, ...]:
        parts, at = [], 0
        while at < len(tail):
            part, at = decode_part(tail, at)
            parts.append(part)
        if len(parts) != len(self.types):
            raise damaged(tail)
        for index, enum in self._enums:
            if parts[index] is not None:
                parts[index] = _member(enum, parts[index])
        return tuple(parts)

    def _names(self) -> str:
        return f"({', '.join(column.__qualname__ for column in self.types)})"


def encode_window(start: int) -> bytes:
    """Return the eight bytes of a window start in microseconds since the epoch."""
    shifted = start + SIGN
    if not 0 <= shifted < _WINDOW_TOP:
        raise AgentError(f"the window start {start} µs is out of range", fix="give event times in microseconds")
    return shifted.to_bytes(8, "big")


def prefix_end(prefix: bytes) -> bytes | None:
    """Return the smallest bytes above all that begin with `prefix`; None when there are none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else None


def _decode_window(encoded: bytes) -> int:
    if len(encoded) != 8:
        raise damaged(encoded)
    return int.from_bytes(encoded, "big") - SIGN


def _member(enum: type[Enum], value: Any) -> Enum:
    try:
        return enum(value)
    except ValueError:
        raise IncompatibleState(
            f"a stored key has the value {value!r}, which {enum.__qualname__} does not have (any more)",
            fix="keep that member, or reset the table",
        ) from None


def _plain_type(declared: Any) -> type:
    """Reduce a declared column type to one class: `str | None` to str, `tuple[int, str]` to tuple, Any to object."""
    if declared is Any:
        return object
    if get_origin(declared) in (Union, UnionType):
        others = [option for option in get_args(declared) if option is not NoneType]
        return _plain_type(others[0]) if len(others) == 1 else object
    plain = get_origin(declared) or declared
    if isinstance(plain, type) and (plain in _SIMPLE or issubclass(plain, Enum)):
        return plain
    names = ", ".join(simple.__name__ for simple in _SIMPLE)
    raise DeclarationError(f"a table cannot have keys of {declared!r}; key columns may be {names} or an Enum")


def _coercion(column: type) -> Callable[[Any], Any]:
    """Return the function that brings a value to its column's type, or raises `AgentError`."""
    if column is object:
        return lambda value: value
    accepted = (column, NoneType)

    def coerce(value: Any) -> Any:
        if type(value) in accepted:
            return value
        if column is int and isinstance(value, int):
            return int(value)
        if column in (float, Decimal) and isinstance(value, int) and column(value) == value:
            return column(value)
        if column is date and isinstance(value, datetime):
            raise _wrong(value, column)
        if isinstance(value, column):
            return value
        if issubclass(column, Enum) and value in [member.value for member in column]:
            return column(value)
        raise _wrong(value, column)

    return coerce


def _wrong(value: Any, column: type) -> AgentError:
    return AgentError(
        f"the key part {value!r} is a {type(value).__qualname__}, the table's key column a {column.__qualname__}",
        fix="convert it, or declare the table's key with that type",
    )
