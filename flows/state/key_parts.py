"""One part of a state key as bytes, and back: the scalar half of the key encoding that `keys` specifies.

Each encoding is self-delimiting and no encoding is a prefix of another, so that parts can follow each other
and be compared as bytes. The columnar half in `keys` takes its tags and terminators from here.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from flows.errors import AgentError, StateCorrupt

SIGN = 1 << 63
TOP = 1 << 64

NONE = b"\x05"
FALSE = b"\x10"
TRUE = b"\x11"
INT = b"\x20"
FLOAT = b"\x28"
DECIMAL = b"\x30"
BYTES = b"\x40"
STR = b"\x50"
DATE = b"\x60"
NAIVE = b"\x61"
AWARE = b"\x62"
UNIQUE = b"\x68"
TUPLE = b"\x70"

END = b"\x00\x01"
ESCAPED_ZERO = b"\x00\xff"
TUPLE_END = b"\x00"

_NAIVE_EPOCH = datetime(1970, 1, 1)
_AWARE_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INFINITE = {b"\x00": Decimal("-Infinity"), b"\x02": Decimal(0), b"\x04": Decimal("Infinity")}
_PLAIN_DIGITS = 28
_FLIP = bytes(255 - byte for byte in range(256))
_NAN = struct.pack(">Q", TOP - 1)

Decoded = tuple[Any, int]


def encode_part(value: Any) -> bytes:
    """Encode one value by its own type. Raises `AgentError` for what cannot be a key."""
    encoder = ENCODERS.get(type(value))
    if encoder is not None:
        return encoder(value)
    if isinstance(value, Enum):
        return encode_part(value.value)
    for base, encoder in ENCODERS.items():
        if isinstance(value, base) and not (base is date and isinstance(value, datetime)):
            return encoder(value)
    raise AgentError(
        f"{value!r} of type {type(value).__qualname__} cannot be a key",
        fix="use str, bytes, int, float, bool, None, datetime, date, Decimal, UUID, Enum or tuples of them",
    )


def decode_part(data: bytes, at: int) -> Decoded:
    """Decode the part that begins at `at`; return it with the position behind it."""
    decoder = DECODERS.get(data[at : at + 1])
    if decoder is None:
        raise damaged(data)
    try:
        return decoder(data, at + 1)
    except (ValueError, OverflowError):  # a date or a text that does not exist
        raise damaged(data) from None


def damaged(data: bytes) -> StateCorrupt:
    return StateCorrupt(
        f"the bytes {data[:64].hex()} are not a state key",
        fix="delete the state folder; it is rebuilt from the changelog",
    )


def encode_int(value: int) -> bytes:
    try:
        return INT + (value + SIGN).to_bytes(8, "big")
    except OverflowError:
        raise AgentError(
            f"the key {value} does not fit in 64 bits with a sign", fix="use a str or Decimal key"
        ) from None


def encode_float(value: float) -> bytes:
    if math.isnan(value):
        return FLOAT + _NAN
    (bits,) = struct.unpack(">Q", struct.pack(">d", value + 0.0))  # + 0.0 makes -0.0, an equal key, 0.0
    return FLOAT + struct.pack(">Q", bits + SIGN if bits < SIGN else TOP - 1 - bits)


def encode_str(value: str) -> bytes:
    # surrogatepass: a lone surrogate is a str that Python compares and hashes like any other.
    return STR + value.encode("utf-8", "surrogatepass").replace(b"\x00", ESCAPED_ZERO) + END


def encode_bytes(value: bytes) -> bytes:
    return BYTES + bytes(value).replace(b"\x00", ESCAPED_ZERO) + END


def encode_bool(value: bool) -> bytes:
    return TRUE if value else FALSE


def encode_none(_: None) -> bytes:
    return NONE


def encode_datetime(value: datetime) -> bytes:
    if value.utcoffset() is None:
        return NAIVE + _micros(value.replace(tzinfo=None) - _NAIVE_EPOCH)
    return AWARE + _micros(value - _AWARE_EPOCH)


def _micros(since: timedelta) -> bytes:
    micros = (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds
    return (micros + SIGN).to_bytes(8, "big")


def encode_date(value: date) -> bytes:
    return DATE + value.toordinal().to_bytes(4, "big")


def encode_uuid(value: UUID) -> bytes:
    return UNIQUE + value.bytes


def encode_decimal(value: Decimal) -> bytes:
    """Sign, order of magnitude, digits; a negative number is its positive one with all bits flipped."""
    if value.is_nan():
        raise AgentError("Decimal('NaN') cannot be a key: it equals nothing", fix="use None for no value")
    if not value:
        return DECIMAL + b"\x02"
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        return DECIMAL + (b"\x00" if sign else b"\x04")
    text = bytes(digit + 1 for digit in digits).lstrip(b"\x01")
    magnitude = len(text) + exponent
    body = (magnitude + SIGN).to_bytes(8, "big") + text.rstrip(b"\x01") + b"\x00"
    return DECIMAL + (b"\x01" + body.translate(_FLIP) if sign else b"\x03" + body)


def encode_tuple(value: tuple[Any, ...]) -> bytes:
    return TUPLE + b"".join(map(encode_part, value)) + TUPLE_END


def _fixed(data: bytes, at: int, size: int) -> bytes:
    found = data[at : at + size]
    if len(found) < size:
        raise damaged(data)
    return found


def _decode_int(data: bytes, at: int) -> Decoded:
    return int.from_bytes(_fixed(data, at, 8), "big") - SIGN, at + 8


def _decode_float(data: bytes, at: int) -> Decoded:
    (bits,) = struct.unpack(">Q", _fixed(data, at, 8))
    if bits == TOP - 1:
        return math.nan, at + 8
    raw = bits - SIGN if bits >= SIGN else TOP - 1 - bits
    return struct.unpack(">d", struct.pack(">Q", raw))[0], at + 8


def _decode_escaped(data: bytes, at: int) -> tuple[bytes, int]:
    end = at
    while (end := data.find(b"\x00", end)) >= 0 and data[end + 1 : end + 2] == b"\xff":
        end += 2
    if end < 0 or data[end : end + 2] != END:
        raise damaged(data)
    return data[at:end].replace(ESCAPED_ZERO, b"\x00"), end + 2


def _decode_str(data: bytes, at: int) -> Decoded:
    raw, end = _decode_escaped(data, at)
    return raw.decode("utf-8", "surrogatepass"), end


def _decode_naive(data: bytes, at: int) -> Decoded:
    micros, end = _decode_int(data, at)
    return _NAIVE_EPOCH + timedelta(microseconds=micros), end


def _decode_aware(data: bytes, at: int) -> Decoded:
    micros, end = _decode_int(data, at)
    return _AWARE_EPOCH + timedelta(microseconds=micros), end


def _decode_date(data: bytes, at: int) -> Decoded:
    return date.fromordinal(int.from_bytes(_fixed(data, at, 4), "big")), at + 4


def _decode_uuid(data: bytes, at: int) -> Decoded:
    return UUID(bytes=_fixed(data, at, 16)), at + 16


def _decode_decimal(data: bytes, at: int) -> Decoded:
    kind = _fixed(data, at, 1)
    if kind in _INFINITE:
        return _INFINITE[kind], at + 1
    negative = kind == b"\x01"
    end = data.find(b"\xff" if negative else b"\x00", at + 9)
    if end < 0:
        raise damaged(data)
    body = data[at + 1 : end].translate(_FLIP) if negative else data[at + 1 : end]
    digits = tuple(byte - 1 for byte in body[8:])
    magnitude = int.from_bytes(body[:8], "big") - SIGN
    if len(digits) < magnitude <= _PLAIN_DIGITS:
        digits += (0,) * (magnitude - len(digits))  # 10, not 1E+1
    return Decimal((int(negative), digits, magnitude - len(digits))), end + 1


def _decode_tuple(data: bytes, at: int) -> Decoded:
    parts = []
    while data[at : at + 1] != TUPLE_END:
        part, at = decode_part(data, at)
        parts.append(part)
    return tuple(parts), at + 1


ENCODERS: dict[type, Callable[[Any], bytes]] = {
    str: encode_str,
    bool: encode_bool,
    int: encode_int,
    float: encode_float,
    bytes: encode_bytes,
    type(None): encode_none,
    datetime: encode_datetime,
    date: encode_date,
    Decimal: encode_decimal,
    UUID: encode_uuid,
    tuple: encode_tuple,
}
DECODERS: dict[bytes, Callable[[bytes, int], Decoded]] = {
    NONE: lambda data, at: (None, at),
    FALSE: lambda data, at: (False, at),
    TRUE: lambda data, at: (True, at),
    INT: _decode_int,
    FLOAT: _decode_float,
    DECIMAL: _decode_decimal,
    BYTES: _decode_escaped,
    STR: _decode_str,
    DATE: _decode_date,
    NAIVE: _decode_naive,
    AWARE: _decode_aware,
    UNIQUE: _decode_uuid,
    TUPLE: _decode_tuple,
}
