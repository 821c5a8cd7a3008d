"""The tables of the whole group: this worker's part and its peers', as if one worker held them all.

Holders are asked for stored entries (`spread` says how), which are merged and decoded together here: so rows, their
order and the types of their columns are the same whomever one asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping

import msgspec
import polars as pl

from flows.brokers.base import Member
from flows.query.base import WHOLE, Change, LocalTables, Missing, Row, TableInfo, Wanted, note_missing
from flows.query.cluster_changes import ClusterChanges
from flows.query.entries import NotEntries, unpack
from flows.query.members import Members
from flows.query.peers import PeerError, Peers, table_path
from flows.query.rows import Entry, RowDecoder, select_entries
from flows.query.spread import Ask, spread

# The class below has a method `list`, so that its annotations need names of their own.
Infos = list[TableInfo]
Rows = list[Row]
Starts = list[float]
Lacks = list[Missing]
Changes = list[Change]
Entries = list[Entry]
Parts = list[Entries]


_FEW = 16
"""Entries that are decoded sooner than a thread has begun to."""


class _StartsAnswer(msgspec.Struct):
    """What `/windows?scope=local` answers."""

    starts: Starts
    missing: Lacks = []


class ClusterTables:
    """Implements `Tables`. `tasks` are the ids of each table's tasks, by partition."""

    def __init__(
        self,
        local: LocalTables,
        decoders: Mapping[str, RowDecoder],
        tasks: Mapping[str, tuple[str, ...]],
        members: Members,
        peers: Peers,
    ) -> None:
        self._local, self._decoders, self._tasks = local, decoders, tasks
        self._members, self._peers = members, peers
        self._changes = ClusterChanges(local, tasks, members, peers)

    def list(self) -> Infos:
        return [decoder.info for decoder in self._decoders.values()]

    async def rows(
        self,
        table: str,
        *,
        key: str | None = None,
        window: float | None = None,
        limit: int = 1000,
        missing: Lacks | None = None,
    ) -> Rows:
        wanted = Wanted(partitions=(), key=key, window=window, limit=limit)
        return await self._rows(table, wanted, missing, None)

    async def look_up(
        self, table: str, key: bytes, owner: int | None, window: float | None = None, missing: Lacks | None = None
    ) -> Rows:
        """Return the rows of one key, by its bytes without window; of the partition `owner`, where that is known."""
        wanted = Wanted(partitions=(), exact=key, window=window)
        return await self._rows(table, wanted, missing, None if owner is None else {owner})

    async def windows(self, table: str, *, limit: int = 200, missing: Lacks | None = None) -> Starts:
        if self._decoders[table].info.window is None:
            return []

        async def ask(member: Member, partitions: tuple[int, ...]) -> tuple[Starts, Lacks]:
            if member.id == self._members.me:
                return await self._local.starts(table, [*partitions], limit=limit)
            parameters = {"scope": "local", "limit": str(limit), "partitions": _joined(partitions)}
            found = await self._peers.json(member, table_path(table, "/windows"), parameters, _StartsAnswer)
            return found.starts, found.missing

        parts = await spread(self._members, table, self._tasks[table], ask, missing)
        return sorted({start for starts in parts for start in starts}, reverse=True)[: max(limit, 0)]

    async def frame(self, table: str, *, missing: Lacks | None = None) -> pl.DataFrame:
        parts = await self._parts(table, Wanted(partitions=()), missing)
        decoder = self._decoders[table]
        return await asyncio.to_thread(lambda: decoder.frame(_merged(parts)))

    def changes(self, table: str) -> AsyncIterator[Changes]:
        if self._decoders[table].info.kind == WHOLE:
            return self._local.changes(table)
        return self._changes.subscribe(table)

    async def close(self) -> None:
        """End every reader of changes."""
        await self._changes.close()

    async def _rows(self, table: str, wanted: Wanted, missing: Lacks | None, only: Collection[int] | None) -> Rows:
        parts = await self._parts(table, wanted, missing, only)
        decoder = self._decoders[table]
        # Each part is selected already; of all together only the order and the limit remain.
        rest = Wanted(partitions=(), limit=wanted.limit)
        if sum(map(len, parts)) <= _FEW:
            return decoder.rows(select_entries(decoder, _merged(parts), rest))
        return await asyncio.to_thread(lambda: decoder.rows(select_entries(decoder, _merged(parts), rest)))

    async def _parts(
        self, table: str, wanted: Wanted, missing: Lacks | None, only: Collection[int] | None = None
    ) -> Parts:
        if self._decoders[table].info.kind == WHOLE:
            part = await self._local.part(table, wanted)
            note_missing(missing, part.missing)
            return [part.entries]
        return await spread(
            self._members, table, self._tasks[table], self._entries_of(table, wanted), missing, only=only
        )

    def _entries_of(self, table: str, wanted: Wanted) -> Ask[Entries]:
        async def ask(member: Member, partitions: tuple[int, ...]) -> tuple[Entries, Lacks]:
            mine = msgspec.structs.replace(wanted, partitions=partitions)
            if member.id == self._members.me:
                part = await self._local.part(table, mine)
            else:
                body = await self._peers.body(member, table_path(table, "/entries"), _parameters(mine))
                try:
                    part = await asyncio.to_thread(unpack, body)
                except NotEntries:
                    raise PeerError("answers what is not understood") from None
            return part.entries, part.missing

        return ask


def _merged(parts: Parts) -> Entries:
    """Return the entries of all parts in key order, as one worker's stores would have them."""
    return sorted(entry for part in parts for entry in part)


def _joined(partitions: tuple[int, ...]) -> str:
    return ",".join(map(str, partitions))


def _parameters(wanted: Wanted) -> dict[str, str]:
    given = {
        "key": wanted.key,
        "exact": None if wanted.exact is None else wanted.exact.hex(),
        "window": None if wanted.window is None else repr(wanted.window),
        "limit": None if wanted.limit is None else str(wanted.limit),
    }
    return {
        "partitions": _joined(wanted.partitions),
        **{name: text for name, text in given.items() if text is not None},
    }
