"""The committed tables of a data folder, read from outside of any worker.

What is committed is what the broker holds: a table's changelog. A task's store is a head start on it that may lag
(a worker can die between its transaction and its store), so the tail of the changelog is always replayed on top.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import msgspec
import polars as pl

from flows.brokers.base import Broker, Records, TopicPartition
from flows.errors import BrokerUnavailable
from flows.query.base import Change, Missing, Row, TableInfo
from flows.query.rows import Entry, RowDecoder, select_rows, window_starts
from flows.state.base import Logs, Store

RESERVED = b"\xff\xff"
"""What the keys of changelog records begin with that are no rows."""

# The class below has a method `list`, so that its annotations need names of their own.
Entries = list[Entry]
Infos = list[TableInfo]
Partitions = list[TopicPartition]
Rows = list[Row]
Starts = list[float]
Changes = list[Change]
Lacks = list[Missing]
PartitionRows = dict[TopicPartition, dict[bytes, bytes]]

_FETCH = 50_000
_PATIENCE = 30.0


class StoredTable(msgspec.Struct, frozen=True):
    """Where a table lies: its changelog topic, and the folder of each partition's store.

    `logs` reads the changelog, where that is another's topic, whose records have to be made rows.
    """

    decoder: RowDecoder
    changelog: str
    stores: tuple[Path, ...]
    logs: Logs | None = None


class OfflineTables:
    """Tables of a data folder; implements `Tables`. Nothing is ever missing.

    `open_store` opens a store's folder for reading; None reads changelogs only, which is right while workers hold the
    stores. A table is read once and kept.
    """

    def __init__(
        self, tables: Mapping[str, StoredTable], broker: Broker, open_store: Callable[[Path], Store] | None
    ) -> None:
        self._tables, self._broker, self._open_store = tables, broker, open_store
        self._read: dict[str, Entries] = {}

    def list(self) -> Infos:
        return [t.decoder.info for t in self._tables.values()]

    async def rows(
        self,
        table: str,
        *,
        key: str | None = None,
        window: float | None = None,
        limit: int = 1000,
        missing: Lacks | None = None,
    ) -> Rows:
        return select_rows(self._tables[table].decoder, await self.entries(table), key=key, window=window, limit=limit)

    async def windows(self, table: str, *, limit: int = 200, missing: Lacks | None = None) -> Starts:
        return window_starts(self._tables[table].decoder, await self.entries(table), limit=limit)

    async def frame(self, table: str, *, missing: Lacks | None = None) -> pl.DataFrame:
        entries = await self.entries(table)
        return await asyncio.to_thread(self._tables[table].decoder.frame, entries)

    async def changes(self, table: str) -> AsyncIterator[Changes]:
        """End at once: nothing changes where no worker runs."""
        self._tables[table]
        nothing: Changes
        for nothing in ():
            yield nothing

    async def entries(self, table: str) -> Entries:
        """Return a table's committed entries in key order.

        1. Each partition's store gives its rows and the changelog position that they stand for.
        2. The changelog is replayed from there, or from its start where there is no store or it lies outside.
        """
        if table not in self._read:
            stored = self._tables[table]
            topics = await self._broker.topics()
            if stored.changelog not in topics:  # no worker has come so far
                return []
            tps = [TopicPartition(stored.changelog, p) for p in range(topics[stored.changelog].partitions)]
            # One dict a partition: agents may write a key in several, and each is a row.
            rows: PartitionRows = {tp: {} for tp in tps}
            # 1
            logs = stored.logs or self._broker
            positions = await self._heads(table, stored, tps, rows)
            # 2
            await self._replay(logs, positions, rows)
            self._read[table] = list(stored.decoder.visible(sorted(e for part in rows.values() for e in part.items())))
        return self._read[table]

    async def _heads(
        self, table: str, stored: StoredTable, tps: Partitions, rows: PartitionRows
    ) -> dict[TopicPartition, int]:
        starts, ends = await self._broker.start_offsets(tps), await self._broker.end_offsets(tps)
        positions = dict(starts)
        for tp in tps:
            folder = stored.stores[tp.partition] if tp.partition < len(stored.stores) else None
            if folder is None or self._open_store is None or not (folder / "CURRENT").exists():
                continue
            head, position = await asyncio.to_thread(_read_store, self._open_store, folder, table)
            if position is not None and starts[tp] <= position <= ends[tp]:
                rows[tp].update(head)
                positions[tp] = position
        return positions

    async def _replay(self, logs: Logs, positions: dict[TopicPartition, int], rows: PartitionRows) -> None:
        ends = await self._broker.end_offsets(positions)
        behind = {tp: at for tp, at in positions.items() if at < ends[tp]}
        if not behind:
            return
        reader = logs.reader(behind)
        try:
            while behind:
                fetched = await reader.fetch(_FETCH, _PATIENCE)
                for records in fetched:
                    _apply(records, rows[records.tp])
                # A fetch that returns nothing may yet have moved, across offsets without a record.
                now = {tp: reader.position(tp) for tp in behind}
                if not fetched and now == behind:
                    raise BrokerUnavailable(
                        f"{next(iter(behind))} gave no record for {_PATIENCE:g} s before its end",
                        fix="look whether the broker is well",
                    )
                reader.pause([tp for tp, at in now.items() if at >= ends[tp]])
                behind = {tp: at for tp, at in now.items() if at < ends[tp]}
        finally:
            await reader.close()


def _apply(records: Records, rows: dict[bytes, bytes]) -> None:
    for key, value in zip(records.keys, records.values, strict=True):
        if key is None or key.startswith(RESERVED):
            continue
        if value is None:
            rows.pop(key, None)
        else:
            rows[key] = value


def _read_store(open_store: Callable[[Path], Store], folder: Path, table: str) -> tuple[Entries, int | None]:
    store = open_store(folder)
    try:
        position = store.positions().get(table)
        if table not in store.tables() or position is None:
            return [], None
        return list(store.scan(table)), position
    finally:
        store.close()
