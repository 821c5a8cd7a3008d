"""A table's changes from all who hold a part of it: this worker's commits and the streams of its peers, in one.

There is one stream from each peer, however many read here, and none while nobody does. A stream that begins or ends
while someone reads may have missed changes, as has one whose peer says so: the readers are then told by
`ChangesMissed` to read the table again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from flows.brokers.base import Member
from flows.query.base import Change, ChangesMissed, LocalTables
from flows.query.live import ChangeHub, Subscription
from flows.query.members import EVERY, Members
from flows.query.peers import Event, PeerError, Peers, table_path

_PATIENCE = 2.0
"""Seconds that a new reader waits at most for the peers' streams to begin."""

_FIRST_RETRY, _LAST_RETRY = 0.2, 2.0


class ClusterChanges:
    """Follows tables for as long as they have readers. `tasks` are the ids of each table's tasks."""

    def __init__(
        self, local: LocalTables, tasks: Mapping[str, tuple[str, ...]], members: Members, peers: Peers
    ) -> None:
        self._local, self._tasks, self._members, self._peers = local, tasks, members, peers
        self._hub = ChangeHub()
        self._followed: dict[str, _Followed] = {}

    def subscribe(self, table: str) -> Reader:
        """Watch a table; see `Tables.changes`."""
        reader = self._hub.subscribe(table)
        followed = self._followed.get(table)
        if followed is None or followed.task.done():
            followed = _Followed(table, self._tasks[table], self._hub, self._local, self._members, self._peers)
            self._followed[table] = followed
        return Reader(reader, followed)

    async def close(self) -> None:
        """End all readers and streams."""
        self._hub.close()
        await _end([followed.task for followed in self._followed.values()])


class Reader:
    """One reader's way through a table's changes."""

    def __init__(self, changes: Subscription, followed: _Followed) -> None:
        self._changes, self._followed = changes, followed

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> list[Change]:
        return await anext(self._changes)

    async def opened(self) -> None:
        """Wait until the changes of all who hold a part are received, so that what is read then is followed on."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await self._followed.settled.wait()

    async def aclose(self) -> None:
        """Stop receiving."""
        await self._changes.aclose()


class _Followed:
    """One table with readers: the pumps that bring its changes to them."""

    def __init__(
        self,
        table: str,
        tasks: tuple[str, ...],
        hub: ChangeHub,
        local: LocalTables,
        members: Members,
        peers: Peers,
    ) -> None:
        self._table, self._tasks, self._hub = table, tasks, hub
        self._local, self._members, self._peers = local.changes(table), members, peers
        self._streams: dict[str, asyncio.Task[None]] = {}
        self._opening: set[str] = set()
        self.settled = asyncio.Event()
        self.task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        local = asyncio.create_task(self._pump_local())
        before: dict[int, str] | None = None
        try:
            while self._hub.wanted(self._table):
                holders = await self._members.holders(self._tasks)
                await self._stream_from({m.id: m for m in holders.values() if m.id != self._members.me})
                held = {p: m.id for p, m in holders.items()}
                if before is not None and held != before:
                    self._hub.miss(self._table)
                before = held
                self._settle()
                await asyncio.sleep(EVERY)
        finally:
            await _end([local, *self._streams.values()])

    async def _stream_from(self, peers: dict[str, Member]) -> None:
        gone = [self._streams.pop(peer) for peer in [*self._streams] if peer not in peers]
        await _end(gone)
        for peer, member in peers.items():
            if peer not in self._streams:
                self._opening.add(peer)
                self._streams[peer] = asyncio.create_task(self._pump_peer(member))
        self._opening &= set(peers)

    async def _pump_local(self) -> None:
        while True:
            try:
                async for changes in self._local:
                    self._hub.publish(self._table, changes)
                return
            except ChangesMissed:
                self._hub.miss(self._table)

    async def _pump_peer(self, member: Member) -> None:
        """Receive from one peer until cancelled; each time that it fails, readers are to look for themselves."""
        pause = _FIRST_RETRY
        while True:
            try:
                async for event in self._peers.events(member, table_path(self._table, "/changes"), {"scope": "local"}):
                    pause = _FIRST_RETRY
                    self._hear(member, event)
            except PeerError:
                # What could not be had is told with the rows, which readers are asked to read again.
                pass
            self._members.forget()
            self._opened(member.id)
            self._hub.miss(self._table)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_RETRY)

    def _hear(self, member: Member, event: Event) -> None:
        if event.name == "changes":
            self._hub.publish(self._table, _changes(event.data))
        elif event.name == "resync" or (event.name == "ready" and not self._opened(member.id)):
            self._hub.miss(self._table)

    def _opened(self, peer: str) -> bool:
        """Note that a peer's stream has begun, or failed; tell whether readers still waited for that."""
        waited = peer in self._opening and not self.settled.is_set()
        self._opening.discard(peer)
        self._settle()
        return waited

    def _settle(self) -> None:
        if not self._opening:
            self.settled.set()


class _Sent(msgspec.Struct):
    """A change as the API sends it."""

    key: dict[str, Any]
    row: dict[str, Any] | None


_decode = msgspec.json.Decoder(list[_Sent]).decode


def _changes(data: bytes) -> list[Change]:
    try:
        return [Change(key={k: _hashable(v) for k, v in c.key.items()}, row=c.row) for c in _decode(data)]
    except msgspec.DecodeError:
        raise PeerError("sends changes that are not understood") from None


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
