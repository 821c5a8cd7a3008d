"""Record batches as blobs: msgpack columns, written and read by msgspec with no Python per record."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from flows.brokers.base import Headers, Outgoing, Records, TopicPartition
from flows.errors import BrokerError, RecordTooLarge

BATCH_BYTES = 1_000_000  # larger appends are split, so that a reader never decodes much more than it wants
_BYTES = frozenset((bytes, type(None)))
_INTS = frozenset((int,))


class Columns(NamedTuple):
    """A decoded batch. `deltas` are offsets from the batch's first, None while none is missing."""

    keys: list[bytes | None]
    values: list[bytes | None]
    timestamps: list[int]
    headers: list[Headers] | None
    deltas: list[int] | None


class Piece(NamedTuple):
    """A batch as it was read: its first offset, the offset after its last record, and its columns."""

    first: int
    next: int
    columns: Columns

    def offsets(self) -> Sequence[int]:
        deltas = self.columns.deltas
        if deltas is None:
            return range(self.first, self.next)
        first = self.first
        return [first + delta for delta in deltas]


class Append(NamedTuple):
    """Encoded records for one partition: (count, blob) of each batch; `keyless` where a key is None."""

    tp: TopicPartition
    parts: list[tuple[int, bytes]]
    keyless: bool


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Columns).decode


def encode_append(tp: TopicPartition, records: Outgoing, max_record_bytes: int) -> Append:
    """Encode records into batches; raises `RecordTooLarge`, or `BrokerError` for what is not a record."""
    _check_types(tp, records)
    columns = Columns(records.keys, records.values, records.timestamps, records.headers, None)
    parts = list(_encode_parts(tp, columns, max_record_bytes))
    return Append(tp, parts, None in records.keys)


def combine(tp: TopicPartition, pieces: Sequence[Piece], position: int, next_offset: int) -> Records | None:
    """Join consecutive batches into one `Records` from `position` on, None where no record is left."""
    if not pieces:
        return None
    first, *others = pieces
    offsets, columns = _clip(first, position)
    if others:
        offsets = _join_offsets([offsets, *(piece.offsets() for piece in others)])
        columns = join([columns, *(piece.columns for piece in others)])
    if not columns.values:
        return None
    return Records(
        tp=tp,
        offsets=offsets,
        timestamps=columns.timestamps,
        keys=columns.keys,
        values=columns.values,
        headers=columns.headers,
        next_offset=next_offset,
    )


def join(parts: Sequence[Columns]) -> Columns:
    """Concatenate columns; the offsets are the caller's."""
    keys: list[bytes | None] = []
    values: list[bytes | None] = []
    timestamps: list[int] = []
    headers: list[Headers] | None = None
    if any(part.headers is not None for part in parts):
        headers = []
    for part in parts:
        keys += part.keys
        values += part.values
        timestamps += part.timestamps
        if headers is not None:
            headers += part.headers if part.headers is not None else [()] * len(part.values)
    return Columns(keys, values, timestamps, headers, None)


def _clip(piece: Piece, position: int) -> tuple[Sequence[int], Columns]:
    offsets, columns = piece.offsets(), piece.columns
    cut = bisect_left(offsets, position)
    if cut == 0:
        return offsets, columns
    headers = None if columns.headers is None else columns.headers[cut:]
    kept = Columns(columns.keys[cut:], columns.values[cut:], columns.timestamps[cut:], headers, None)
    return offsets[cut:], kept


def _join_offsets(parts: Sequence[Sequence[int]]) -> Sequence[int]:
    parts = [part for part in parts if part]
    whole = all(isinstance(part, range) for part in parts)
    if parts and whole and all(a[-1] + 1 == b[0] for a, b in pairwise(parts)):
        return range(parts[0][0], parts[-1][-1] + 1)
    return [offset for part in parts for offset in part]


def _encode_parts(tp: TopicPartition, columns: Columns, limit: int) -> Iterable[tuple[int, bytes]]:
    blob = encode(columns)
    count = len(columns.values)
    # No record can be larger than its whole batch, so only a large batch is looked at record by record.
    if len(blob) > limit:
        _check_sizes(tp, columns, limit)
    if len(blob) <= BATCH_BYTES or count == 1:
        yield count, blob
        return
    step = max(1, count * BATCH_BYTES // len(blob))
    for start in range(0, count, step):
        yield from _encode_parts(tp, _slice(columns, start, start + step), limit)


def _slice(columns: Columns, start: int, end: int) -> Columns:
    keys, values, timestamps, headers, _ = columns
    part = slice(start, end)
    return Columns(keys[part], values[part], timestamps[part], None if headers is None else headers[part], None)


def _check_types(tp: TopicPartition, records: Outgoing) -> None:
    # A str or a float would be stored without complaint and then stop every reader.
    lengths = {len(records.keys), len(records.values), len(records.timestamps)}
    if records.headers is not None:
        lengths.add(len(records.headers))
    if len(lengths) > 1:
        raise BrokerError(f"{tp}: keys, values, timestamps and headers differ in length: {sorted(lengths)}")
    for name, column, allowed in (
        ("key", records.keys, _BYTES),
        ("value", records.values, _BYTES),
        ("timestamp", records.timestamps, _INTS),
    ):
        if not allowed.issuperset(map(type, column)):
            index = next(i for i, item in enumerate(column) if type(item) not in allowed)
            wanted = "whole milliseconds" if name == "timestamp" else "bytes or None"
            raise BrokerError(f"{tp}: the {name} of record {index} of {len(records)} is not {wanted}")


def _check_sizes(tp: TopicPartition, columns: Columns, limit: int) -> None:
    for index, (key, value) in enumerate(zip(columns.keys, columns.values, strict=True)):
        size = len(key or b"") + len(value or b"")
        if size > limit:
            raise RecordTooLarge(
                f"{tp}: record {index} of {len(columns.values)} has {size:,} bytes, at most {limit:,} fit",
                fix="send less in one record, or raise the broker's max_record_bytes",
            )
