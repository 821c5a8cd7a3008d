"""What goes: records past their topic's retention, purged ones, those of deleted topics, and free pages."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from flows.brokers.embedded.log import SPAN
from flows.brokers.embedded.writer import Scope

_SLICE = 2 << 20  # bytes of batches that one job drops: about 10 ms
_MOST_ROWS = 500
_VACUUM_PAGES = 300


class Expired(NamedTuple):
    """A partition whose records below `low` are older than its topic's retention."""

    partition: int
    low: int


def expired(db: sqlite3.Connection, now: float) -> list[Expired]:
    """Find the new start offsets that retention asks for, by the wall clock of each batch's append."""
    partitions = db.execute(
        """SELECT p.id, p.low, t.retention FROM partitions p JOIN topics t ON t.name = p.topic
           WHERE t.cleanup = 'delete' AND t.retention IS NOT NULL AND p.low < p.high"""
    ).fetchall()
    found = [Expired(id_, _expired_to(db, id_ * SPAN, low, now - kept)) for id_, low, kept in partitions]
    return [old for old, (_, low, _) in zip(found, partitions, strict=True) if old.low > low]


def raise_start(old: Expired, scope: Scope) -> None:
    """Move a partition's start offset up."""
    scope.connection.execute("UPDATE partitions SET low = max(low, ?) WHERE id = ?", (old.low, old.partition))


def to_sweep(db: sqlite3.Connection) -> list[int]:
    """Return the partitions with batches below their start offset, and those of deleted topics."""
    purged = [
        id_
        for id_, low in db.execute("SELECT id, low FROM partitions WHERE low > 0").fetchall()
        if db.execute(
            "SELECT 1 FROM batches WHERE id >= ? AND id < ? AND next <= ? LIMIT 1",
            (id_ * SPAN, id_ * SPAN + low, low),
        ).fetchone()
    ]
    return purged + [id_ for (id_,) in db.execute("SELECT partition FROM garbage").fetchall()]


def sweep(partitions: Sequence[int], scope: Scope) -> bool:
    """Drop one slice of batches that lie wholly below the start offsets; return whether more are left.

    A partition without a row (its topic was deleted) loses all of its batches.
    """
    room = _SLICE
    for partition in partitions:
        size, finished = _sweep_one(scope.connection, partition, room)
        if not finished:
            return True
        room -= size
        scope.connection.execute("DELETE FROM garbage WHERE partition = ?", (partition,))
    return False


def _sweep_one(db: sqlite3.Connection, partition: int, room: int) -> tuple[int, bool]:
    """Return the bytes that were dropped, and whether that was all."""
    base = partition * SPAN
    row = db.execute("SELECT low FROM partitions WHERE id = ?", (partition,)).fetchone()
    low = SPAN if row is None else row[0]
    rows = db.execute(
        "SELECT id, length(data) FROM batches WHERE id >= ? AND id < ? AND next <= ? ORDER BY id LIMIT ?",
        (base, base + low, low, _MOST_ROWS),
    ).fetchall()
    size = 0
    for id_, length in rows:
        if size >= room:
            return size, False
        db.execute("DELETE FROM batches WHERE id = ?", (id_,))
        size += length
    return size, len(rows) < _MOST_ROWS


def vacuum(scope: Scope) -> None:
    """Give some free pages back to the file system."""
    for _ in range(_VACUUM_PAGES):  # the sqlite3 module steps this statement once only, which frees one page
        scope.connection.execute("PRAGMA incremental_vacuum(1)")


def _expired_to(db: sqlite3.Connection, base: int, low: int, cutoff: float) -> int:
    cursor = db.execute(
        "SELECT next, appended FROM batches WHERE id >= ? AND id < ? AND next > ? ORDER BY id",
        (base, base + SPAN, low),
    )
    for next_, appended in cursor:
        if appended > cutoff:
            break
        low = next_
    cursor.close()
    return low
