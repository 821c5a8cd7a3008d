"""What each member tells all others: its address, plan, tasks and lags, in the compacted topic `<group>-members`.

A static member that comes back causes no round (that is its point), and what members say at a join reaches only the
leader; so what others should know is written here, at each change. Who is alive, the coordinator knows: the reader asks
it, so that no clocks are compared and an entry of a member that died says nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from typing import Protocol

import msgspec

from flows.brokers.base import Member, Outgoing, Reader, TopicPartition, TopicSpec
from flows.clock import Clock
from flows.errors import BrokerError

log = logging.getLogger(__name__)

_FETCH, _WAIT = 1_000, 0.2


class Topics(Protocol):
    """What is used of the broker."""

    async def create_topic(self, spec: TopicSpec) -> None: ...

    async def start_offsets(self, tps: Collection[TopicPartition]) -> dict[TopicPartition, int]: ...

    async def end_offsets(self, tps: Collection[TopicPartition]) -> dict[TopicPartition, int]: ...

    def reader(self, positions: Mapping[TopicPartition, int]) -> Reader: ...

    async def produce(self, outputs: Mapping[TopicPartition, Outgoing]) -> dict[TopicPartition, int]: ...


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What a member tells: `seat` is the place at the coordinator that it had when it did."""

    id: str
    seat: str
    since: int
    address: str = ""
    plan: str = ""
    tasks: tuple[str, ...] = ()
    lags: dict[str, int] = {}

    def as_member(self) -> Member:
        return Member(id=self.id, address=self.address, plan=self.plan, tasks=self.tasks)


def topic_of(group: str) -> str:
    """Return the name of a group's members topic.

    >>> topic_of("airport")
    'airport-members'
    """
    return f"{group}-members"


class Members:
    """The members topic of one group, followed by a reader that stays open."""

    def __init__(self, topics: Topics, group: str, clock: Clock) -> None:
        self.entries: dict[str, Entry] = {}
        self._topics, self._clock = topics, clock
        self._tp = TopicPartition(topic_of(group), 0)
        self._reader: Reader | None = None
        self._reading = asyncio.Lock()
        self._decode = msgspec.msgpack.Decoder(Entry).decode

    async def create(self) -> None:
        """Make the topic unless it is there."""
        await self._topics.create_topic(
            TopicSpec(name=self._tp.topic, cleanup="compact", retention=None, internal=True)
        )

    async def tell(self, entry: Entry) -> None:
        """Write what others should know; raises `BrokerError`."""
        await self._write({entry.id: entry})

    async def remove(self, ids: Collection[str]) -> None:
        """Write that members are gone; raises `BrokerError`."""
        await self._write(dict.fromkeys(ids))

    async def forget_all_but(self, ids: Collection[str], seconds: float) -> None:
        """Remove the entries of members that are gone, if that takes no longer than this; else they stay for now."""
        gone = self.entries.keys() - set(ids)
        if gone:
            try:
                async with asyncio.timeout(seconds):
                    await self.remove(gone)
            except (BrokerError, TimeoutError) as error:
                log.debug("entries of members that are gone stay for now: %r", error)

    async def read(self) -> dict[str, Entry]:
        """Return the newest entry of each member, dead ones too; raises `BrokerError`."""
        async with self._reading:
            try:
                end = (await self._topics.end_offsets([self._tp]))[self._tp]
                if self._reader is None:
                    self._reader = self._topics.reader(await self._topics.start_offsets([self._tp]))
                while self._reader.position(self._tp) < end:
                    for records in await self._reader.fetch(_FETCH, _WAIT):
                        self._take(records.keys, records.values)
            except BaseException:
                await self.close()
                raise
        return dict(self.entries)

    async def close(self) -> None:
        reader, self._reader = self._reader, None
        self.entries.clear()
        if reader is not None:
            await reader.close()

    def _take(self, keys: Collection[bytes | None], values: Collection[bytes | None]) -> None:
        for key, value in zip(keys, values, strict=True):
            if value is not None:
                entry = self._decode(value)
                self.entries[entry.id] = entry
            elif key is not None:
                self.entries.pop(key.decode(), None)

    async def _write(self, entries: Mapping[str, Entry | None]) -> None:
        out = Outgoing()
        for id_, entry in entries.items():
            value = None if entry is None else msgspec.msgpack.encode(entry)
            out.append(id_.encode(), value, int(self._clock.now() * 1000))
        await self._topics.produce({self._tp: out})
