"""The part of the tables that this worker holds: committed rows of its tasks, for readers here and for its peers."""

from __future__ import annotations

import asyncio
import builtins
import heapq
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TypeVar

import msgspec
import polars as pl

from flows.compile.global_tables import Copies
from flows.compile.tables import TableDecoder
from flows.query.base import WHOLE, Change, Missing, Part, Row, TableInfo, Wanted, note_missing
from flows.query.entries import pack
from flows.query.live import ChangeHub
from flows.query.rows import Entry, select_entries, select_rows, window_starts
from flows.run.task import Task

Result = TypeVar("Result")


class LiveTables:
    """Implements `LocalTables`. Reading happens in a thread, on snapshots taken at one moment."""

    def __init__(
        self,
        worker: str,
        decoders: Mapping[str, TableDecoder],
        tasks: Callable[[], list[Task]],
        hub: ChangeHub,
        copies: Copies | None = None,
    ) -> None:
        self._copies: Copies = {} if copies is None else copies
        self._worker, self._decoders, self._tasks, self._hub = worker, decoders, tasks, hub

    def list(self) -> builtins.list[TableInfo]:
        return [
            msgspec.structs.replace(d.info, partitions=tuple(sorted(self._held(name))))
            for name, d in self._decoders.items()
        ]

    async def rows(
        self,
        table: str,
        *,
        key: str | None = None,
        window: float | None = None,
        limit: int = 1000,
        missing: builtins.list[Missing] | None = None,
    ) -> builtins.list[Row]:
        decoder, held = self._decoders[table], [*self._held(table)]
        found, lacks = await self._read(
            table, held, lambda entries: select_rows(decoder, entries, key=key, window=window, limit=limit)
        )
        note_missing(missing, lacks)
        return found

    async def windows(
        self, table: str, *, limit: int = 200, missing: builtins.list[Missing] | None = None
    ) -> builtins.list[float]:
        found, lacks = await self.starts(table, [*self._held(table)], limit=limit)
        note_missing(missing, lacks)
        return found

    async def frame(self, table: str, *, missing: builtins.list[Missing] | None = None) -> pl.DataFrame:
        decoder, held = self._decoders[table], [*self._held(table)]
        found, lacks = await self._read(table, held, lambda entries: decoder.frame(builtins.list(entries)))
        note_missing(missing, lacks)
        return found

    def changes(self, table: str) -> AsyncIterator[builtins.list[Change]]:
        self._decoders[table]
        return self._hub.subscribe(table)

    async def part(self, table: str, wanted: Wanted) -> Part:
        decoder = self._decoders[table]
        # With windows a key is at as many places as there are windows.
        at = wanted.exact if decoder.info.window is None else None
        found, lacks = await self._read(
            table, [*wanted.partitions], lambda entries: select_entries(decoder, entries, wanted), at=at
        )
        return Part(found, lacks)

    async def packed(self, table: str, wanted: Wanted) -> bytes:
        return await asyncio.to_thread(pack, await self.part(table, wanted))

    async def starts(
        self, table: str, partitions: builtins.list[int], *, limit: int
    ) -> tuple[builtins.list[float], builtins.list[Missing]]:
        decoder = self._decoders[table]
        return await self._read(table, partitions, lambda entries: window_starts(decoder, entries, limit=limit))

    def _held(self, table: str) -> dict[int, Task]:
        return {t.partition: t for t in self._tasks() if t.holds(table)}

    async def _read(
        self,
        table: str,
        partitions: builtins.list[int],
        read: Callable[[Iterator[Entry]], Result],
        *,
        at: bytes | None = None,
    ) -> tuple[Result, builtins.list[Missing]]:
        """Read a table's entries in key order, in a thread; tell which of the partitions could not be read.

        `at` reads the entry of this key only.
        """
        bounds = (b"", None) if at is None else (at, at + b"\x00")
        if self._decoders[table].info.kind == WHOLE:
            return await self._read_copy(table, read, bounds)
        held = self._held(table)
        lacks = {p: why for p in partitions if (why := _why_not(held.get(p))) is not None}
        states = [held[p].state for p in partitions if p not in lacks]
        snapshots = [state.snapshot() for state in states if state is not None]
        try:
            entries = heapq.merge(*(s.scan(table, *bounds) for s in snapshots))
            seen = self._decoders[table].visible(entries)
            # One entry is read sooner than a thread has begun to.
            found = read(seen) if at is not None else await asyncio.to_thread(read, seen)
        finally:
            for snapshot in snapshots:
                snapshot.close()
        return found, [
            Missing(table=table, partition=p, worker=self._worker, reason=why) for p, why in sorted(lacks.items())
        ]

    async def _read_copy(
        self, table: str, read: Callable[[Iterator[Entry]], Result], bounds: tuple[bytes, bytes | None]
    ) -> tuple[Result, builtins.list[Missing]]:
        copy = self._copies.get(table)
        if copy is None:
            lack = Missing(table=table, partition=0, worker=self._worker, reason="is about to be read")
            return read(iter(())), [lack]
        return await asyncio.to_thread(lambda: read(copy.entries(*bounds))), []


def _why_not(task: Task | None) -> str | None:
    """Say why a task's rows cannot be read now; None when they can."""
    if task is None:
        return "is about to be started"
    if task.ready and task.state is not None:
        return None
    return task.progress.words()
