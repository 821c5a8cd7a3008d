"""The partitions in broker.db: append, read, offsets, purge. Each function is a few statements on a connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from flows.brokers.base import Records, TopicPartition
from flows.brokers.embedded.batches import Append, Columns, Piece, combine, decode
from flows.errors import BrokerError, OffsetOutOfRange, UnknownTopic

SPAN = 1 << 40  # offsets a partition may have; a batch's id is partition * SPAN + first offset

_FIND = """SELECT p.id, p.low, p.high, t.cleanup FROM partitions p JOIN topics t ON t.name = p.topic
           WHERE p.topic = ? AND p.number = ?"""
_INSERT = "INSERT INTO batches (id, next, count, appended, data) VALUES (?, ?, ?, ?, ?)"
# From the batch that contains the position (or, in a hole, the one after it) to the partition's end.
_FROM = """SELECT id, next, data FROM batches
           WHERE id >= coalesce((SELECT id FROM batches WHERE id BETWEEN :base AND :at ORDER BY id DESC LIMIT 1), :at)
             AND id < :limit AND next > :position ORDER BY id"""


class Partition(NamedTuple):
    """A partition's row: records exist from `low` up to, not including, `high`."""

    id: int
    low: int
    high: int
    cleanup: str

    @property
    def base(self) -> int:
        return self.id * SPAN


def find(connection: sqlite3.Connection, tp: TopicPartition) -> Partition:
    """Return the partition's row; raises `UnknownTopic`."""
    row = connection.execute(_FIND, tp).fetchone()
    if row is not None:
        return Partition(*row)
    known = connection.execute("SELECT partitions FROM topics WHERE name = ?", (tp.topic,)).fetchone()
    if known is None:
        raise UnknownTopic(f"topic {tp.topic!r} does not exist", fix="create it before it is read or written")
    raise UnknownTopic(f"{tp} does not exist: topic {tp.topic!r} has partitions 0 to {known[0] - 1}")


def append(connection: sqlite3.Connection, records: Append, now: float) -> int:
    """Write encoded batches at the partition's end; return the new end offset."""
    partition = find(connection, records.tp)
    if records.keyless and partition.cleanup == "compact":
        raise BrokerError(
            f"{records.tp}: a record has no key, and the topic is compacted",
            fix="give each record a key, or create the topic with cleanup='delete'",
        )
    base, end = partition.base, partition.high
    rows = []
    for count, blob in records.parts:
        rows.append((base + end, end + count, count, now, blob))
        end += count
    if end >= SPAN:
        raise BrokerError(f"{records.tp} has reached the last offset, {SPAN:,}", fix="use another topic")
    connection.executemany(_INSERT, rows)
    connection.execute("UPDATE partitions SET high = ? WHERE id = ?", (end, partition.id))
    return end


class Chunk(NamedTuple):
    """What one read of a partition gave: the records, if any, the position after them, and their bytes."""

    records: Records | None
    position: int
    size: int


def read(connection: sqlite3.Connection, tp: TopicPartition, position: int, max_records: int, max_bytes: int) -> Chunk:
    """Read whole batches from a position until either limit is reached; raises `OffsetOutOfRange`.

    Trailing holes are skipped: where nothing more follows, the position after is the partition's end.
    """
    partition = find(connection, tp)
    if not partition.low <= position <= partition.high:
        raise _out_of_range(tp, position, partition)
    if position == partition.high:
        return Chunk(None, position, 0)
    pieces: list[Piece] = []
    size = count = 0
    after = partition.high
    base = partition.base
    names = {"base": base, "at": base + position, "limit": base + SPAN, "position": position}
    cursor = connection.execute(_FROM, names)
    for id_, next_, data in cursor:
        if count >= max_records or size >= max_bytes:
            after = pieces[-1].next
            break
        columns = _decode(tp, id_ - base, data)
        pieces.append(Piece(id_ - base, next_, columns))
        size += len(data)
        count += len(columns.values)
    cursor.close()
    return Chunk(combine(tp, pieces, position, after), after, size)


def _decode(tp: TopicPartition, first: int, data: bytes) -> Columns:
    try:
        return decode(data)
    except msgspec.DecodeError as error:
        raise BrokerError(
            f"{tp}: the batch at offset {first} is damaged: {error}",
            fix="restore broker.db from a backup, or go on behind the batch",
        ) from error


def offsets(connection: sqlite3.Connection, tps: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
    """Return the start and end offset of each partition."""
    found = {tp: find(connection, tp) for tp in tps}
    return {tp: (partition.low, partition.high) for tp, partition in found.items()}


def all_ends(connection: sqlite3.Connection) -> dict[TopicPartition, int]:
    """Return the end offset of every partition there is."""
    rows = connection.execute("SELECT topic, number, high FROM partitions")
    return {TopicPartition(topic, number): high for topic, number, high in rows}


def purge(connection: sqlite3.Connection, tp: TopicPartition, before: int) -> int:
    """Move the start offset up to `before` (`retain.sweep` drops the batches below it); return the partition's id."""
    partition = find(connection, tp)
    if before > partition.high:
        raise OffsetOutOfRange(
            f"{tp}: cannot purge up to {before}, the end is {partition.high}",
            wanted=before,
            start=partition.low,
            end=partition.high,
        )
    if before > partition.low:
        connection.execute("UPDATE partitions SET low = ? WHERE id = ?", (before, partition.id))
    return partition.id


def _out_of_range(tp: TopicPartition, position: int, partition: Partition) -> OffsetOutOfRange:
    gap = f"{partition.low - position:,} records are gone" if position < partition.low else "it is past the end"
    return OffsetOutOfRange(
        f"{tp}: offset {position} is not there ({gap}); the partition holds {partition.low} to {partition.high}",
        wanted=position,
        start=partition.low,
        end=partition.high,
        fix="start from an offset in that range, or keep records longer",
    )
