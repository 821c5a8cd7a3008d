"""A task's state as the engine uses it: what is being committed, over what was committed, over the store.

    staged     rows of the commit in progress; forgotten when it aborts
    active     rows that the broker has committed, on their way to the store
    flushing   an older generation of them that a thread is writing now, at most one
    recent     rows that the last flush wrote: the store has them too, reading them here is ten times faster
    store      RocksDB or memory, with the changelog positions that its rows stand for

The store never holds an uncommitted row, and it may lag behind the changelog: after a crash, restore replays from
the stored positions. All calls are made from one thread (the event loop); only the write of a flush runs in
another, and views from `snapshot` may be read in any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from flows.state.base import Rows, Store, StoreSnapshot
from flows.state.layers import MISSING, Generation, Layer, Lookup, merge
from flows.state.ordered import OrderedRows
from flows.state.task_snapshot import TaskSnapshot

_BACK_PRESSURE = 4


class TaskState:
    """The write cache in front of one store.

    A flush is due at `max_entries` rows, `max_bytes` of keys and values, or `max_age` seconds after the first
    unflushed commit. At four times these sizes the cache is `full`: wait for `flush` before the next commit.
    """

    def __init__(
        self, store: Store, *, max_entries: int = 65_536, max_bytes: int = 64 << 20, max_age: float = 1.0
    ) -> None:
        self.store = store
        self._max_entries, self._max_bytes, self._max_age = max_entries, max_bytes, max_age
        self._staged = Generation()
        self._tombstones: dict[str, dict[bytes, None]] = {}
        self._active = Generation()
        self._flushing: Generation | None = None
        self._recent: dict[str, OrderedRows[bytes | None]] = {}
        self._due_since: float | None = None
        self._one_flush = asyncio.Lock()

    # Reading

    def get_many(self, table: str, keys: Sequence[bytes], *, uncommitted: bool = False) -> list[bytes | None]:
        """Return the committed values in the order of the keys; with `uncommitted` staged ones count too."""
        lookup = Lookup(keys)
        for layer in self._layers(table, uncommitted):
            lookup.through(layer.rows.rows, layer.ranges)
        if (recent := self._recent.get(table)) is not None:
            lookup.through(recent.rows)
        missing = lookup.missing()
        return lookup.fill(self.store.get_many(table, missing) if missing else [])

    def get_uncommitted(self, table: str, key: bytes) -> bytes | None:
        """Return one value, staged ones included; what `get_many` does, for callers that come key by key."""
        for generation in (self._staged, self._active, self._flushing):
            layer = None if generation is None else generation.tables.get(table)
            if layer is None:
                continue
            found: Any = layer.rows.rows.get(key, MISSING)
            if found is not MISSING:
                value: bytes | None = found
                return value
            if len(layer.ranges) and layer.ranges.covers(key):
                return None
        recent = self._recent.get(table)
        if recent is not None and key in recent.rows:
            return recent.rows[key]
        return self.store.get_many(table, (key,))[0]

    def scan(
        self,
        table: str,
        start: bytes = b"",
        end: bytes | None = None,
        *,
        reverse: bool = False,
        uncommitted: bool = False,
    ) -> Rows:
        """Iterate the committed rows of `[start, end)` in key order, as they are at this moment."""
        base = self.store.scan(table, start, end, reverse=reverse)
        return merge(self._layers(table, uncommitted), base, start, end, reverse=reverse)

    def snapshot(self) -> StoreSnapshot:
        """Return all committed rows as they are at this moment, readable from any thread until closed."""
        generations = [self._active] if self._flushing is None else [self._active, self._flushing]
        layers = [{table: layer.share() for table, layer in generation.tables.items()} for generation in generations]
        return TaskSnapshot(layers, self.store.snapshot())

    def positions(self) -> dict[str, int]:
        """Return the changelog position that the committed rows of each table stand for."""
        flushing = self._flushing.positions if self._flushing is not None else {}
        return {**self.store.positions(), **flushing, **self._active.positions}

    # One commit: stage, then promote or discard

    def stage(self, table: str, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Add rows to the commit in progress; None deletes, and a later row of a key replaces an earlier."""
        rows = dict(zip(keys, values, strict=True))
        self.stage_rows(table, rows)

    def stage_rows(self, table: str, rows: dict[bytes, bytes | None]) -> None:
        """Add rows to the commit in progress; the dict is the state's from now on."""
        layer = self._staged.layer(table)
        self._staged.size += sum(map(len, rows)) + sum(map(len, filter(None, rows.values())))
        if layer.rows.rows:
            layer.rows.update(rows)
        else:
            layer.rows = OrderedRows(rows)

    def stage_range_delete(
        self, table: str, start: bytes, end: bytes, keys: Sequence[bytes] | None = None
    ) -> list[bytes]:
        """Drop `[start, end)` in this commit; return the committed keys in it, which get tombstones.

        A caller that has just scanned the range gives the `keys` and saves a second scan.
        """
        gone = [key for key, _ in self.scan(table, start, end)] if keys is None else list(keys)
        self._tombstones.setdefault(table, {}).update(dict.fromkeys(gone))
        self._staged.layer(table).drop_range(start, end)
        return gone

    def staged(self, table: str) -> Mapping[bytes, bytes | None]:
        """Return what the changelog must take for this commit: each changed key once, None for a tombstone."""
        layer = self._staged.tables.get(table)
        rows = layer.rows.rows if layer is not None else {}
        tombstones = self._tombstones.get(table)
        return {**tombstones, **rows} if tombstones else rows

    def staged_tables(self) -> list[str]:
        """Return the tables that this commit changes."""
        return list(self._staged.tables)

    def discard(self) -> None:
        """Forget the commit in progress."""
        self._staged = Generation()
        self._tombstones = {}

    def promote(self, positions: Mapping[str, int]) -> None:
        """Take the staged rows as committed, with the next changelog offset of each table they came to."""
        self._staged.positions.update(positions)
        if self._active:
            self._active.absorb(self._staged)
        else:
            self._active = self._staged
        self.discard()

    # The way to the store

    def needs_flush(self, now: float) -> bool:
        """Tell whether a flush is due; `now` is any clock's seconds, the same one at each call."""
        if self._flushing is not None and not self._one_flush.locked():
            return True  # the last flush failed
        if not self._active:
            return False
        if self._due_since is None:
            self._due_since = now
        return now - self._due_since >= self._max_age or self._over(1)

    def full(self) -> bool:
        """Tell whether the cache is at its hard limit, so that the next commit must wait for a flush."""
        return self._over(_BACK_PRESSURE)

    async def flush(self) -> None:
        """Write everything that was promoted before this call to the store.

        1. The active generation becomes the flushing one; commits go on into a new one.
        2. A thread writes its rows, ranges and positions at once.
        3. The flushing generation is dropped.

        Raises `StateError`; then nothing is lost, reads still see all rows, and the next flush tries again.
        """
        # A cancelled caller must not leave a write running unseen: a retry could overtake it.
        await asyncio.shield(asyncio.ensure_future(self._flush()))

    async def close(self, *, flush: bool = True) -> None:
        """Flush unless told not to, wait for a write in progress and close the store."""
        try:
            if flush:
                await self.flush()
        finally:
            async with self._one_flush:
                await asyncio.to_thread(self.store.close)

    async def _flush(self) -> None:
        async with self._one_flush:
            while self._begin_flush():
                # A generation whose write failed goes first; what was promoted after it follows.
                more = bool(self._active)
                await self._write_flushing()
                if not more:
                    return

    async def _write_flushing(self) -> None:
        assert self._flushing is not None
        # 2
        await asyncio.to_thread(self.store.write, self._flushing.write())
        # 3
        self._end_flush()

    def _begin_flush(self) -> bool:
        # 1
        if self._flushing is None and self._active:
            self._flushing, self._active = self._active, Generation()
            self._due_since = None
        return self._flushing is not None

    def _end_flush(self) -> None:
        assert self._flushing is not None
        written, self._flushing = self._flushing, None
        kept = sum(map(len, self._recent.values())) + written.entries()
        if kept > self._max_entries:
            self._recent = {}
        for table, layer in written.tables.items():
            if len(layer.ranges) or table not in self._recent:
                self._recent[table] = layer.rows
            else:
                self._recent[table].update(layer.rows.rows)

    def _over(self, times: int) -> bool:
        held = [self._active] if self._flushing is None else [self._active, self._flushing]
        entries = sum(generation.entries() for generation in held)
        size = sum(generation.size for generation in held)
        return entries >= times * self._max_entries or size >= times * self._max_bytes

    def _layers(self, table: str, uncommitted: bool) -> list[Layer]:
        """Return the table's layers above the store, topmost first."""
        generations = [self._staged] if uncommitted else []
        generations.append(self._active)
        if self._flushing is not None:
            generations.append(self._flushing)
        return [layer for held in generations if (layer := held.tables.get(table)) is not None]
