"""A broker in memory, of one event loop: what the test driver runs on. It passes the brokers' contract suite."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import count
from operator import itemgetter

import msgspec

from flows.brokers.base import (
    Appender,
    Committed,
    Headers,
    Member,
    Membership,
    Outgoing,
    Producer,
    Reader,
    Records,
    TaskInputs,
    TopicPartition,
    TopicSpec,
    Transaction,
)
from flows.brokers.memory_group import MemoryGroups
from flows.brokers.specs import check_alterable, compare
from flows.errors import BrokerError, Fenced, OffsetOutOfRange, RecordTooLarge, UnknownTopic

Stored = tuple[int, int, bytes | None, bytes | None, Headers]


class _Log:
    """One partition: (offset, timestamp, key, value, headers) of each record."""

    def __init__(self) -> None:
        self.records: list[Stored] = []
        self.start = 0
        self.end = 0

    def append(self, out: Outgoing) -> None:
        headers = out.headers or [()] * len(out)
        for key, value, timestamp, own in zip(out.keys, out.values, out.timestamps, headers, strict=True):
            self.records.append((self.end, timestamp, key, value, own))
            self.end += 1

    def read(self, tp: TopicPartition, offset: int, limit: int) -> Records | None:
        if not self.start <= offset <= self.end:
            raise OffsetOutOfRange(
                f"{tp}: offset {offset} is not in the partition, which holds {self.start} to {self.end}",
                wanted=offset,
                start=self.start,
                end=self.end,
            )
        first = self._place(offset)
        found = self.records[first : first + limit]
        if not found:
            return None
        offsets, timestamps, keys, values, headers = (list(c) for c in zip(*found, strict=True))
        return Records(
            tp=tp,
            offsets=offsets,
            timestamps=timestamps,
            keys=keys,
            values=values,
            headers=headers if any(headers) else None,
            next_offset=offsets[-1] + 1,
        )

    def purge(self, before: int) -> None:
        if before > self.start:
            del self.records[: self._place(before)]
            self.start = min(before, self.end)

    def mark(self) -> None:
        """Take an offset without a record."""
        self.end += 1

    def _place(self, offset: int) -> int:
        return bisect_left(self.records, offset, key=itemgetter(0))


class MemoryBroker:
    """Topics, positions and groups in memory; nothing outlives the object.

    With `markers` each commit of a producer ends with an offset without a record in the partitions that it wrote, as a
    transaction does on Kafka.
    """

    shares_disk = True

    def __init__(self, *, max_record_bytes: int = 1_000_000, markers: bool = False) -> None:
        self.max_record_bytes, self.markers = max_record_bytes, markers
        self._specs: dict[str, TopicSpec] = {}
        self._ids: dict[str, str] = {}
        self._made = count(1)
        self._logs: dict[TopicPartition, _Log] = {}
        self._offsets: dict[str, dict[TopicPartition, Committed]] = {}
        self._epochs: dict[str, int] = {}
        self._groups = MemoryGroups()
        self.news = asyncio.Event()  # of the next write; another one after it

    async def start(self) -> None:
        """Do nothing: memory is there."""

    async def close(self) -> None:
        """Do nothing: memory goes with the object."""

    async def create_topic(self, spec: TopicSpec) -> None:
        compare(self._specs.setdefault(spec.name, spec), spec)
        if spec.name not in self._ids:
            self._ids[spec.name] = str(next(self._made))
        for partition in range(spec.partitions):
            self._logs.setdefault(TopicPartition(spec.name, partition), _Log())

    async def topics(self) -> dict[str, TopicSpec]:
        return dict(self._specs)

    async def topic_ids(self, names: Iterable[str]) -> dict[str, str]:
        return {name: self._ids[name] for name in names if name in self._ids}

    async def alter_retention(self, name: str, seconds: float | None) -> None:
        check_alterable(name, self._specs.get(name))
        self._specs[name] = msgspec.structs.replace(self._specs[name], retention=seconds)

    async def delete_topic(self, name: str) -> None:
        spec = self._specs.pop(name, None)
        if spec is None:
            raise UnknownTopic(f"topic {name!r} does not exist")
        del self._ids[name]
        for partition in range(spec.partitions):
            del self._logs[TopicPartition(name, partition)]

    async def start_offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: self._log(tp).start for tp in tps}

    async def end_offsets(self, tps: Iterable[TopicPartition], *, written: bool = False) -> dict[TopicPartition, int]:
        return {tp: self._log(tp).end for tp in tps}

    def reader(self, positions: Mapping[TopicPartition, int]) -> Reader:
        return _MemoryReader(self, dict(positions))

    async def produce(self, outputs: Mapping[TopicPartition, Outgoing]) -> dict[TopicPartition, int]:
        self._check(outputs)
        for tp, out in outputs.items():
            self._log(tp).append(out)
        self.news.set()
        self.news = asyncio.Event()
        return {tp: self._log(tp).end for tp in outputs}

    async def producer(
        self, transactional_id: str, *, group: str = "", inputs: Iterable[TopicPartition] = ()
    ) -> Producer:
        return await self.appender(transactional_id)

    async def appender(self, transactional_id: str, *, group: str = "") -> Appender:
        epoch = self._epochs[transactional_id] = self._epochs.get(transactional_id, 0) + 1
        return _MemoryProducer(self, transactional_id, epoch)

    async def committed(
        self, group: str, tps: Iterable[TopicPartition], *, stable: bool = True
    ) -> dict[TopicPartition, Committed]:
        known = self._offsets.get(group, {})
        return {tp: known[tp] for tp in tps if tp in known}

    async def delete_offsets(self, group: str) -> None:
        self._offsets.pop(group, None)

    async def purge(self, before: Mapping[TopicPartition, int]) -> None:
        for tp, offset in before.items():
            self._log(tp).purge(offset)

    async def join(
        self,
        group: str,
        member_id: str,
        tasks: TaskInputs,
        *,
        address: str = "",
        plan: str = "",
        standbys: int = 0,
        lags: Mapping[str, int] | None = None,
    ) -> Membership:
        return self._groups.join(group, Member(id=member_id, address=address, plan=plan), tasks)

    async def group_members(self, group: str) -> list[Member]:
        return self._groups.members(group)

    def expel(self, group: str, member_id: str) -> None:
        """Take a member's place, as when its lease has run out: it is told by `Fenced`."""
        self._groups.expel(group, member_id)

    def partitions(self, topic: str) -> list[TopicPartition]:
        """Return the partitions of a topic; none where it does not exist."""
        spec = self._specs.get(topic)
        return [] if spec is None else [TopicPartition(topic, p) for p in range(spec.partitions)]

    def read(self, tp: TopicPartition, offset: int) -> Records | None:
        """Return all records from an offset on, None where there are none."""
        found = self._log(tp)
        return found.read(tp, max(offset, found.start), len(found.records) or 1)

    def _log(self, tp: TopicPartition) -> _Log:
        try:
            return self._logs[tp]
        except KeyError:
            raise UnknownTopic(f"partition {tp} does not exist", fix="create the topic first") from None

    def _check(self, outputs: Mapping[TopicPartition, Outgoing]) -> None:
        for tp, out in outputs.items():
            compact = self._specs[self._existing(tp).topic].cleanup == "compact"
            for key, value in zip(out.keys, out.values, strict=True):
                size = len(key or b"") + len(value or b"")
                if size > self.max_record_bytes:
                    raise RecordTooLarge(f"{tp}: a record of {size} bytes, more than {self.max_record_bytes}")
                if key is None and compact:
                    raise BrokerError(f"{tp}: a record without a key in a compacted topic")

    def _existing(self, tp: TopicPartition) -> TopicPartition:
        self._log(tp)
        return tp


class _MemoryProducer:
    def __init__(self, broker: MemoryBroker, transactional_id: str, epoch: int) -> None:
        self._broker, self._id, self._epoch = broker, transactional_id, epoch

    async def commit(self, transaction: Transaction) -> dict[TopicPartition, int]:
        ends = await self.send(transaction.outputs)
        for tp in transaction.outputs if self._broker.markers else ():
            self._broker._log(tp).mark()
        self._broker._offsets.setdefault(transaction.group, {}).update(transaction.offsets)
        return ends

    async def send(self, outputs: Mapping[TopicPartition, Outgoing]) -> dict[TopicPartition, int]:
        if self._broker._epochs[self._id] != self._epoch:
            raise Fenced(f"producer {self._id!r} was taken over by a newer one")
        return await self._broker.produce(outputs)

    async def close(self) -> None:
        """Hold nothing."""


class _MemoryReader:
    def __init__(self, broker: MemoryBroker, positions: dict[TopicPartition, int]) -> None:
        self._broker, self._positions = broker, positions
        self._paused: set[TopicPartition] = set()

    async def fetch(self, max_records: int, timeout: float) -> list[Records]:
        before = dict(self._positions)
        found = self._read(max_records)
        if self._positions == before and timeout > 0:
            try:
                await asyncio.wait_for(self._broker.news.wait(), timeout)
            except TimeoutError:
                return []
            found = self._read(max_records)
        return found

    def _read(self, max_records: int) -> list[Records]:
        found = []
        for tp, position in self._positions.items():
            if tp not in self._paused:
                records = self._broker._log(tp).read(tp, position, max_records)
                if records is not None:
                    self._positions[tp] = records.next_offset
                    found.append(records)
                else:
                    self._positions[tp] = self._broker._log(tp).end
        return found

    def position(self, tp: TopicPartition) -> int:
        return self._positions[tp]

    def pause(self, tps: Iterable[TopicPartition]) -> None:
        self._paused.update(tps)

    def resume(self, tps: Iterable[TopicPartition]) -> None:
        self._paused.difference_update(tps)

    async def close(self) -> None:
        """Hold nothing."""
