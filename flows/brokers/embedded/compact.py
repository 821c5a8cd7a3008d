"""Compaction of `cleanup="compact"` topics: the last record of each key stays, at its offset.

A partition is clean up to `cleaned`: there every key occurs once. A pass goes

1. through the dirty part, and notes the last offset of each key in it;
2. from the partition's start in small windows of batches, each rewritten by one job of the writer as one batch
   without the records that a later one replaced, and without the tombstones that are due;
3. and notes how far the partition is clean now.

A tombstone may go only when nobody can have read an older record of its key and not yet the tombstone. So it
gets a horizon when the pass has removed the older ones, `tombstone_retention` seconds later, and goes with the first
pass after that. Windows go upwards and each is a transaction: a pass that is cut short has left nothing wrong.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from flows.brokers.embedded.batches import BATCH_BYTES, Columns, decode, encode, join
from flows.brokers.embedded.log import SPAN
from flows.brokers.embedded.writer import Scope
from flows.errors import FlowsError

_MOST_KEYS = 500_000  # that one pass remembers; more are left to the next
_MOST_BATCHES = 500  # in a window, so that its transaction stays short
_FEWEST = 1_000  # dirty records that are worth a pass

RunJob = Callable[[str, Callable[[Scope], None]], None]


class Dirty(NamedTuple):
    """A partition that a pass is due for; `retention` is of its tombstones, in seconds."""

    name: str
    partition: int
    cleaned: int
    high: int
    retention: float


class Row(NamedTuple):
    """A batch as it is stored."""

    id: int
    next: int
    appended: float
    horizon: float | None
    data: bytes


class Displaced(FlowsError):
    """A batch of the window is gone (purged, topic deleted): the pass ends here."""


def due(db: sqlite3.Connection, now: float, *, every: bool) -> list[Dirty]:
    """Return the compacted partitions with as many dirty as clean records, or tombstones that may go.

    With `every`, also those with a single dirty record.
    """
    expired = {id_ for (id_,) in db.execute("SELECT DISTINCT id / ? FROM batches WHERE horizon <= ?", (SPAN, now))}
    rows = db.execute(
        """SELECT p.topic || '/' || p.number, p.id, p.cleaned, p.high, t.tombstone_retention
           FROM partitions p JOIN topics t ON t.name = p.topic WHERE t.cleanup = 'compact' ORDER BY p.id"""
    ).fetchall()
    partitions = [Dirty(*row) for row in rows]
    return [each for each in partitions if each.partition in expired or _is_dirty(db, each, every)]


def compact(db: sqlite3.Connection, dirty: Dirty, now: float, run: RunJob) -> None:
    """Make one pass over a partition; see the module for its steps."""
    last, clean_to = _last_offsets(db, dirty)  # 1
    base = dirty.partition * SPAN
    position = base
    while window := _window(db, position, base + clean_to):  # 2
        replacement = _rewrite(window, base, last, now, now + dirty.retention)
        if replacement is not None:
            run(f"compact {dirty.name}", partial(_replace, window, replacement))
        position = base + window[-1].next
    run(f"compact {dirty.name}", partial(_mark, dirty.partition, clean_to))  # 3


def _is_dirty(db: sqlite3.Connection, dirty: Dirty, every: bool) -> bool:
    count = dirty.high - dirty.cleaned
    if count == 0 or every:
        return count > 0
    base = dirty.partition * SPAN
    (clean,) = db.execute(
        "SELECT coalesce(sum(count), 0) FROM batches WHERE id >= ? AND id < ?", (base, base + dirty.cleaned)
    ).fetchone()
    return count >= max(_FEWEST, int(clean))


def _last_offsets(db: sqlite3.Connection, dirty: Dirty) -> tuple[dict[bytes | None, int], int]:
    base = dirty.partition * SPAN
    last: dict[bytes | None, int] = {}
    position = dirty.cleaned
    while position < dirty.high and len(last) < _MOST_KEYS:
        window = _window(db, base + position, base + dirty.high)
        if not window:
            return last, dirty.high
        for row in window:
            columns = decode(row.data)
            last.update(zip(columns.keys, _offsets(row, base, columns), strict=True))
        position = window[-1].next
    return last, position


def _window(db: sqlite3.Connection, start: int, end: int) -> list[Row]:
    """Read consecutive batches of about one full batch together, at least one."""
    cursor = db.execute(
        "SELECT id, next, appended, horizon, data FROM batches WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
        (start, end, _MOST_BATCHES),
    )
    window: list[Row] = []
    size = 0
    for row in map(Row._make, cursor):
        size += len(row.data)
        if window and size > BATCH_BYTES:
            break
        window.append(row)
    cursor.close()  # no read transaction stays open while the writer works
    return window


def _offsets(row: Row, base: int, columns: Columns) -> range | list[int]:
    first = row.id - base
    if columns.deltas is None:
        return range(first, row.next)
    return [first + delta for delta in columns.deltas]


def _rewrite(
    window: list[Row], base: int, last: dict[bytes | None, int], now: float, horizon: float
) -> list[tuple[object, ...]] | None:
    """Return the rows (none or one) to replace a window by, or None where it is good as it is."""
    offsets: list[int] = []
    parts: list[Columns] = []
    latest: float | None = None
    removed = False
    for row in window:
        columns = decode(row.data)
        ours = _offsets(row, base, columns)
        drop_tombstones = row.horizon is not None and row.horizon <= now
        kept = _kept(columns, ours, last, drop_tombstones)
        removed = removed or len(kept) < len(columns.keys)
        part = columns if len(kept) == len(columns.keys) else _pick(columns, kept)
        if None in part.values:
            latest = max(latest or 0.0, horizon if row.horizon is None else row.horizon)
        offsets += [ours[index] for index in kept]
        parts.append(part)
    if not removed and len(window) == 1 and latest == window[0].horizon:
        return None
    if not offsets:
        return []
    first, next_ = window[0].id - base, window[-1].next
    deltas = None if len(offsets) == next_ - first else [offset - first for offset in offsets]
    data = encode(join(parts)._replace(deltas=deltas))
    return [(window[0].id, next_, len(offsets), max(row.appended for row in window), latest, data)]


def _kept(
    columns: Columns, offsets: range | list[int], last: dict[bytes | None, int], drop_tombstones: bool
) -> list[int]:
    newest = last.get
    rows = enumerate(zip(columns.keys, offsets, strict=True))
    kept = [index for index, (key, offset) in rows if newest(key, offset) <= offset]
    return [index for index in kept if columns.values[index] is not None] if drop_tombstones else kept


def _pick(columns: Columns, rows: list[int]) -> Columns:
    keys, values, timestamps, headers, _ = columns
    return Columns(
        [keys[i] for i in rows],
        [values[i] for i in rows],
        [timestamps[i] for i in rows],
        None if headers is None else [headers[i] for i in rows],
        None,
    )


def _replace(old: list[Row], new: list[tuple[object, ...]], scope: Scope) -> None:
    for row in old:
        deleted = scope.connection.execute("DELETE FROM batches WHERE id = ? AND next = ?", (row.id, row.next)).rowcount
        if not deleted:
            raise Displaced("a batch was purged while it was compacted")
    scope.connection.executemany(
        "INSERT INTO batches (id, next, count, appended, horizon, data) VALUES (?, ?, ?, ?, ?, ?)", new
    )
    scope.written += sum(len(row.data) for row in old)


def _mark(partition: int, clean_to: int, scope: Scope) -> None:
    scope.connection.execute("UPDATE partitions SET cleaned = max(cleaned, ?) WHERE id = ?", (clean_to, partition))
