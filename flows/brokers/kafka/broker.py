"""Kafka as a broker: everything of one process over one view of the cluster, in one event loop."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import uuid4

from flows.brokers.base import (
    Appender,
    Committed,
    Member,
    Membership,
    Outgoing,
    Producer,
    Reader,
    TaskInputs,
    TopicPartition,
    TopicSpec,
)
from flows.brokers.kafka import offsets
from flows.brokers.kafka.appender import KafkaAppender
from flows.brokers.kafka.cluster import Cluster
from flows.brokers.kafka.connection import Connection, parse_servers
from flows.brokers.kafka.fetcher import Fetcher
from flows.brokers.kafka.limits import DEFAULT_BATCH_BYTES, OVERHEAD, Limits
from flows.brokers.kafka.lines import Lines
from flows.brokers.kafka.member_producers import MemberProducers
from flows.brokers.kafka.membership_groups import KafkaGroups
from flows.brokers.kafka.producer import KafkaProducer
from flows.brokers.kafka.publisher import Publisher
from flows.brokers.kafka.reader import KafkaReader
from flows.brokers.kafka.retry import persist
from flows.brokers.kafka.sender import Permit
from flows.brokers.kafka.topics import Topics
from flows.brokers.kafka.txn_wire import Standing
from flows.clock import Clock, SystemClock
from flows.errors import BrokerError

_VISIBLE_SECONDS = 5.0
_VISIBLE_PAUSE = 0.005


class KafkaBroker:
    """A `Broker` on a Kafka cluster.

    `lease` is how many seconds a silent member keeps its tasks, `replication` the copies of the topics made here (None:
    three, or as many as there are brokers). A member of a group whose id is `instance_id` is a static one: when it
    leaves, its tasks wait for it until its lease runs out.
    """

    shares_disk = False

    def __init__(
        self,
        connection: Connection,
        clock: Clock | None = None,
        lease: float = 10.0,
        *,
        replication: int | None = None,
        instance_id: str | None = None,
    ) -> None:
        self.connection, self.clock, self.lease = connection, clock or SystemClock(), lease
        self.max_record_bytes = DEFAULT_BATCH_BYTES - OVERHEAD
        self._name = f"flows-{os.getpid()}-{uuid4().hex[:8]}"
        self._cluster = Cluster(connection, self._name)
        self._topics = Topics(self._cluster, replication)
        self._limits = Limits(self._cluster, self._topics)
        self._lanes = itertools.count()
        self._unseen: dict[TopicPartition, int] = {}
        self._started = self._closed = False
        self._instance_id = instance_id
        self._held: list[KafkaProducer | KafkaAppender] = []
        self._members: dict[str, MemberProducers] = {}

    async def start(self) -> None:
        """Connect; raises `BrokerUnavailable` or `BrokerError` with the fix."""
        if self._started:
            raise BrokerError(f"the broker at {self.connection.address} is started already")
        try:
            await self._cluster.start()
            most = await persist("cannot read the brokers' settings", self._topics.most_bytes)
        except BaseException:
            await self._cluster.close()
            raise
        self.max_record_bytes = (most or DEFAULT_BATCH_BYTES) - OVERHEAD
        self._fetcher = Fetcher(self._cluster)
        self._publisher = Publisher(self._limits, self._lines(), self._take_over_own)
        self._groups = KafkaGroups(self._cluster, self, self.clock, lease=self.lease, instance_id=self._instance_id)
        self._started = True

    async def close(self) -> None:
        """Finish or abort what is under way and close all connections; does nothing the second time."""
        if self._closed or not self._started:
            return
        try:
            await self._groups.close()
        finally:
            self._closed = True
            await self._publisher.close()
            await asyncio.gather(*(member.close() for member in self._members.values()))
            await asyncio.gather(*(held.close() for held in self._held))
            await self._fetcher.close()
            await self._cluster.close()

    async def create_topic(self, spec: TopicSpec) -> None:
        """Create the topic unless it exists; raises `TopicMismatch` when it exists with other settings."""
        self._check(f"create topic {spec.name!r}")
        await self._topics.create(spec)

    async def topics(self) -> dict[str, TopicSpec]:
        """Return all topics by name but Kafka's own."""
        self._check("list the topics")
        return await self._topics.listing()

    async def topic_ids(self, names: Iterable[str]) -> dict[str, str]:
        """Return what tells each topic from another one of the same name; unknown names are left out."""
        self._check("read the ids of topics")
        return await self._topics.ids(names)

    async def alter_retention(self, name: str, seconds: float | None) -> None:
        """Keep a topic's records for so many seconds from now on; raises `UnknownTopic`, `BrokerError`."""
        self._check(f"alter topic {name!r}")
        await self._topics.alter_retention(name, seconds)

    async def delete_topic(self, name: str) -> None:
        """Remove a topic with its records; unknown names raise `UnknownTopic`."""
        self._check(f"delete topic {name!r}")
        self._limits.forget(name)
        self._unseen = {tp: end for tp, end in self._unseen.items() if tp.topic != name}
        await self._topics.delete(name)

    async def start_offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the first position of each partition."""
        self._check("tell offsets")
        return await offsets.list_offsets(self._cluster, tps, offsets.EARLIEST)

    async def end_offsets(self, tps: Iterable[TopicPartition], *, written: bool = False) -> dict[TopicPartition, int]:
        """Return the position after the last committed, or `written`, record of each partition, markers included.

        Kafka answers a commit before it lets readers see it; what this process has committed is waited for here.
        """
        self._check("tell offsets")
        if written:
            return await offsets.list_offsets(self._cluster, tps, offsets.LATEST, offsets.READ_UNCOMMITTED)
        tps = list(tps)
        deadline = asyncio.get_running_loop().time() + _VISIBLE_SECONDS
        while True:
            ends = await offsets.list_offsets(self._cluster, tps, offsets.LATEST)
            unseen = [tp for tp in tps if ends[tp] < self._unseen.get(tp, 0)]
            for tp in set(tps).difference(unseen):
                self._unseen.pop(tp, None)
            if not unseen or asyncio.get_running_loop().time() > deadline:
                return ends
            await asyncio.sleep(_VISIBLE_PAUSE)

    def reader(self, positions: Mapping[TopicPartition, int]) -> Reader:
        """Open a reader at these positions."""
        self._check("read")
        return KafkaReader(positions, self._fetcher)

    async def produce(self, outputs: Mapping[TopicPartition, Outgoing]) -> dict[TopicPartition, int]:
        """Append records durably and atomically, outside of any task; return the end offsets."""
        self._check("produce")
        return await self._publisher.produce(outputs)

    async def producer(
        self, transactional_id: str, *, group: str = "", inputs: Iterable[TopicPartition] = ()
    ) -> Producer:
        """Open the writer of a task, or take over a transactional id where it is not one of a group joined here."""
        self._check(f"take over transactional id {transactional_id!r}")
        member = await self._member(group)
        if member is None:
            return await self._take_over(transactional_id)
        return await member.transactional(transactional_id, inputs)

    async def appender(self, transactional_id: str, *, group: str = "") -> Appender:
        """Open a writer as `producer` does, to write without transactions: at least once."""
        self._check(f"take over transactional id {transactional_id!r}")
        member = await self._member(group)
        producer = await self._take_over(transactional_id) if member is None else member.positions(transactional_id)
        # Kafka takes records from anybody: a process that was stopped for longer than its lease has to ask by itself.
        appender = KafkaAppender(self._limits, self._lines(self._groups.confirm), producer)
        self._held.append(appender)
        return appender

    async def committed(
        self, group: str, tps: Iterable[TopicPartition], *, stable: bool = True
    ) -> dict[TopicPartition, Committed]:
        """Return the group's positions; partitions without one are left out."""
        self._check("read positions")
        return await offsets.committed(self._cluster, group, tps, stable)

    async def delete_offsets(self, group: str) -> None:
        """Forget all positions of a group; raises `BrokerError` while it has members."""
        self._check("delete positions")
        await offsets.delete_offsets(self._cluster, group)

    async def purge(self, before: Mapping[TopicPartition, int]) -> None:
        """Drop records below these offsets."""
        self._check("drop records")
        await offsets.purge(self._cluster, before)

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
        """Join a group whose members share `tasks`. Members of another `plan` wait until the old have left."""
        self._check(f"join group {group!r}")
        return await self._groups.join(
            group, member_id, tasks, address=address, plan=plan, standbys=standbys, lags=lags
        )

    async def group_members(self, group: str) -> list[Member]:
        """Return the live members of a group without joining it."""
        self._check("list the members of a group")
        return await self._groups.members(group)

    async def _member(self, group: str) -> MemberProducers | None:
        membership = self._groups.joined(group)
        if membership is None:
            return None
        member = self._members.get(group)
        if member is None or member.membership is not membership:
            earlier, member = member, MemberProducers(self._cluster, self._limits, membership, self._take_over)
            self._members[group] = member
            if earlier is not None:
                await earlier.close()
        return member

    async def _take_over(self, transactional_id: str, standing: Callable[[], Standing] = Standing) -> KafkaProducer:
        producer = KafkaProducer(self._cluster, self._limits, transactional_id, self._committed, standing)
        await producer.take_over()
        self._held = [held for held in self._held if not held.closed]
        self._held.append(producer)
        return producer

    async def _take_over_own(self) -> KafkaProducer:
        return await self._take_over(f"{self._name}-produce")

    def _lines(self, permit: Permit | None = None) -> Lines:
        return Lines(self._cluster, self._limits, ("lines", next(self._lanes)), permit)

    def _committed(self, ends: Mapping[TopicPartition, int]) -> None:
        self._unseen.update(ends)

    def _check(self, doing: str) -> None:
        if not self._started or self._closed:
            raise BrokerError(f"cannot {doing}: the broker is not started, or is closed", fix="await start() first")


def open_kafka(
    url: str,
    clock: Clock | None = None,
    lease: float = 10.0,
    *,
    replication: int | None = None,
    instance_id: str | None = None,
    **credentials: Any,
) -> KafkaBroker:
    """Make the broker of a `kafka://` URL; `credentials` are those of `Connection`. Raises `UsageError`."""
    connection = Connection(servers=parse_servers(url), **credentials)
    return KafkaBroker(connection, clock, lease, replication=replication, instance_id=instance_id)
