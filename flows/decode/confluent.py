"""Confluent's wire format: a zero byte, the id of the writer's schema in four bytes, big-endian, then the value.

In Protobuf the place of the message in its file comes between: the number of indexes and the indexes, as zigzag
varints; `[0]`, the first message, is the one byte 0.
https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
"""

from __future__ import annotations

from collections.abc import Iterable

HEADER = 5
_DEEPEST = 32


def header(schema: int) -> bytes:
    """Return what goes before a value.

    >>> header(7)
    b'\\x00\\x00\\x00\\x00\\x07'
    """
    return b"\0" + schema.to_bytes(4, "big")


def schema_id(data: bytes) -> int:
    """Return the id of the writer's schema. Raises ValueError for bytes of another format."""
    if len(data) < HEADER:
        raise ValueError(f"{len(data)} bytes are too few for a schema id: expected a zero byte and four of an id first")
    if data[0]:
        raise ValueError(f"the first byte is {data[0]}, expected 0, the magic byte before a schema id")
    return int.from_bytes(data[1:HEADER], "big")


def schema_ids(values: Iterable[bytes | None]) -> set[int]:
    """Return the ids that values name; what is of another format names none."""
    found = {value[:HEADER] for value in values if value is not None}
    return {int.from_bytes(head[1:], "big") for head in found if len(head) == HEADER and not head[0]}


def encode_path(path: Iterable[int]) -> bytes:
    """Return the place of a message in its file.

    >>> encode_path([0]), encode_path([1, 0])
    (b'\\x00', b'\\x04\\x02\\x00')
    """
    indexes = list(path)
    return b"\0" if indexes == [0] else b"".join(_varint(n) for n in (len(indexes), *indexes))


def decode_path(data: bytes, at: int) -> tuple[tuple[int, ...], int]:
    """Read a place; return it and where the message begins. Raises ValueError."""
    count, at = _read_varint(data, at)
    if count == 0:
        return (0,), at
    if not 0 < count <= _DEEPEST:
        raise ValueError(f"{count} message indexes: expected at most {_DEEPEST}")
    path = []
    for _ in range(count):
        index, at = _read_varint(data, at)
        if index < 0:
            raise ValueError(f"the message index {index} is negative")
        path.append(index)
    return tuple(path), at


def _varint(number: int) -> bytes:
    left, out = number << 1, bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    found = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            raise ValueError("the bytes end within the message indexes")
        found |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return (found >> 1) ^ -(found & 1), at
    raise ValueError("a message index is longer than five bytes")
