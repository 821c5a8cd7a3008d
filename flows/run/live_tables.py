"""The tables of a running worker, as its readers see them: committed rows of the tasks it holds."""

from __future__ import annotations

import asyncio
import builtins
import heapq
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TypeVar

import msgspec
import polars as pl

from flows.compile.tables import TableDecoder
from flows.query.base import Change, Row, TableInfo
from flows.query.live import ChangeHub
from flows.query.rows import Entry, select_rows, window_starts
from flows.run.task import Task

Result = TypeVar("Result")


class LiveTables:
    """Implements `Tables`. Reading happens in a thread, on snapshots taken at one moment."""

    def __init__(self, decoders: Mapping[str, TableDecoder], tasks: Callable[[], list[Task]], hub: ChangeHub) -> None:
        self._decoders, self._tasks, self._hub = decoders, tasks, hub

    def list(self) -> builtins.list[TableInfo]:
        return [
            msgspec.structs.replace(d.info, partitions=tuple(t.partition for t in self._holders(name)))
            for name, d in self._decoders.items()
        ]

    async def rows(
        self, table: str, *, key: str | None = None, window: float | None = None, limit: int = 1000
    ) -> builtins.list[Row]:
        decoder = self._decoders[table]
        return await self._read(
            table, lambda entries: select_rows(decoder, entries, key=key, window=window, limit=limit)
        )

    async def windows(self, table: str, *, limit: int = 200) -> builtins.list[float]:
        decoder = self._decoders[table]
        return await self._read(table, lambda entries: window_starts(decoder, entries, limit=limit))

    async def frame(self, table: str) -> pl.DataFrame:
        decoder = self._decoders[table]
        return await self._read(table, lambda entries: decoder.frame(builtins.list(entries)))

    def changes(self, table: str) -> AsyncIterator[builtins.list[Change]]:
        self._decoders[table]
        return self._hub.subscribe(table)

    def _holders(self, table: str) -> builtins.list[Task]:
        return [t for t in self._tasks() if t.ready and t.state is not None and t.holds(table)]

    async def _read(self, table: str, read: Callable[[Iterator[Entry]], Result]) -> Result:
        """Read a table's entries in key order, in a thread."""
        snapshots = [t.state.snapshot() for t in self._holders(table) if t.state is not None]
        try:
            entries = heapq.merge(*(s.scan(table) for s in snapshots))
            return await asyncio.to_thread(lambda: read(self._decoders[table].visible(entries)))
        finally:
            for snapshot in snapshots:
                snapshot.close()
