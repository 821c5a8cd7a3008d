"""Brokers that die, come back and hand over in the middle of commits and reads: nothing is lost, nothing doubled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from flows.brokers.base import Broker, Committed, Outgoing, Producer, TopicPartition, TopicSpec, Transaction
from flows.brokers.kafka import producer as producers
from flows.brokers.kafka import reader as readers
from flows.errors import BrokerUnavailable, Fenced, OutcomeUnknown
from tests.contracts.broker_fixtures import Handles, read_all, values
from tests.kafka.cluster import Cluster, unique

LONG = 300.0  # seconds; a test that waits this long has failed


class Task:
    """Write the numbers in order, each in a transaction with its offset, and recover as the engine does."""

    def __init__(self, broker: Broker, tps: list[TopicPartition]) -> None:
        self._broker, self.tps, self._group = broker, tps, tps[0].topic
        self._mark = TopicPartition(tps[0].topic, tps[0].partition)
        self.next = 0
        self.recoveries = 0
        self.reached: dict[int, asyncio.Event] = {}

    async def run(self, until: int) -> None:
        producer: Producer | None = None
        while self.next < until:
            try:
                if producer is None:
                    producer = await self._broker.producer(f"{self._group}-task")
                    found = await self._broker.committed(self._group, [self._mark])
                    self.next = found[self._mark].offset if found else 0
                await producer.commit(self._transaction())
                self.next += 1
                if self.next in self.reached:
                    self.reached[self.next].set()
            except BrokerUnavailable:
                continue  # nothing was applied: the same again, by the same producer
            except (Fenced, OutcomeUnknown):
                self.recoveries += 1
                producer = None

    def _transaction(self) -> Transaction:
        number = b"%d" % self.next
        outputs = {tp: Outgoing([b"k"] * 3, [number + part for part in (b"a", b"b", b"c")], [0] * 3) for tp in self.tps}
        return Transaction(group=self._group, outputs=outputs, offsets={self._mark: Committed(self.next + 1)})

    def event(self, number: int) -> asyncio.Event:
        return self.reached.setdefault(number, asyncio.Event())


def _expected(count: int) -> list[bytes]:
    return [b"%d" % n + part for n in range(count) for part in (b"a", b"b", b"c")]


async def _follow(broker: Broker, tp: TopicPartition, count: int) -> list[bytes | None]:
    """Read on and on by one reader, whatever happens to the brokers."""
    reader, found = broker.reader({tp: 0}), list[bytes | None]()
    while len(found) < count:
        try:
            found += values(await reader.fetch(100, 1.0))
        except BrokerUnavailable:
            continue
    await reader.close()
    return found


async def test_a_broker_that_is_killed_in_the_middle_of_transactions(
    kafka_cluster: Callable[..., Cluster], opened: Callable[[Cluster], Handles]
) -> None:
    cluster = kafka_cluster(1)
    broker = await opened(cluster).open()
    topic = unique("topic")
    await broker.create_topic(TopicSpec(name=topic, partitions=2, retention=None))
    task = Task(broker, [TopicPartition(topic, n) for n in range(2)])
    kills = [task.event(40), task.event(80)]

    async with asyncio.timeout(LONG), asyncio.TaskGroup() as group:
        running = group.create_task(task.run(120))
        reads = [group.create_task(_follow(broker, tp, 360)) for tp in task.tps]
        for kill in kills:
            await kill.wait()
            await asyncio.to_thread(cluster.brokers[0].kill)
            await asyncio.to_thread(cluster.brokers[0].start)
        await running

    for tp, read in zip(task.tps, reads, strict=True):
        assert read.result() == _expected(120)
        assert values(await read_all(broker, tp)) == _expected(120)
    assert (await broker.committed(topic, [task.tps[0]]))[task.tps[0]].offset == 120


async def test_leaders_that_move_with_their_brokers(kafka_three: Cluster, opened: Callable[[Cluster], Handles]) -> None:
    broker = await opened(kafka_three).open()
    topic = unique("app") + "-repartition"
    await broker.create_topic(TopicSpec(name=topic, partitions=3, internal=True))
    task = Task(broker, [TopicPartition(topic, n) for n in range(3)])
    faults = [task.event(30), task.event(60)]

    async with asyncio.timeout(LONG), asyncio.TaskGroup() as group:
        running = group.create_task(task.run(90))
        reads = [group.create_task(_follow(broker, tp, 270)) for tp in task.tps]
        await faults[0].wait()
        await asyncio.to_thread(kafka_three.brokers[0].kill)
        await faults[1].wait()
        await asyncio.to_thread(kafka_three.brokers[0].start)
        await asyncio.to_thread(kafka_three.brokers[1].stop)
        await running
        await asyncio.to_thread(kafka_three.brokers[1].start)

    for tp, read in zip(task.tps, reads, strict=True):
        assert read.result() == _expected(90)
        assert values(await read_all(broker, tp)) == _expected(90)


async def test_an_absence_is_told_and_ends_by_itself(
    kafka_cluster: Callable[..., Cluster], opened: Callable[[Cluster], Handles], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "PATIENCE", 0.5)
    monkeypatch.setattr(producers, "_WRITE_SECONDS", 0.5)
    cluster = kafka_cluster(1)
    broker = await opened(cluster).open()
    tp = TopicPartition(unique("topic"), 0)
    await broker.create_topic(TopicSpec(name=tp.topic, retention=None))
    producer, reader = await broker.producer(f"{tp}-task"), broker.reader({tp: 0})
    transaction = Transaction(group="g", outputs={tp: Outgoing([b"k"], [b"1"], [0])}, offsets={tp: Committed(1)})
    await asyncio.to_thread(cluster.brokers[0].stop)

    async def read_on() -> None:
        while True:
            await reader.fetch(10, 1.0)

    with pytest.raises(BrokerUnavailable, match=f"cannot read {tp}: .*; check that the Kafka brokers are up"):
        await asyncio.wait_for(read_on(), LONG)
    with pytest.raises(BrokerUnavailable, match="check that the Kafka brokers are up"):
        await producer.commit(transaction)
    monkeypatch.undo()
    await asyncio.to_thread(cluster.brokers[0].start)

    await producer.commit(transaction)
    assert await asyncio.wait_for(_follow(broker, tp, 1), LONG) == [b"1"]
    while not (found := await reader.fetch(10, 1.0)):
        pass
    assert values(found) == [b"1"]
