"""Members of a group that write what their tasks commit, and gates that hold up what they send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from flows.brokers.base import Committed, Producer, TopicPartition, TopicSpec, Transaction
from flows.brokers.kafka.broker import KafkaBroker
from flows.brokers.kafka.membership_seat import Seat
from tests.contracts.broker_fixtures import outgoing, read_all, values
from tests.kafka.cluster import Cluster, unique
from tests.kafka.lossy import Losses
from tests.kafka.members import LONG, Handles, Worker, handles


class Member:
    """A member of the group with a broker of its own, and the inputs and outputs: a partition of each to a task."""

    def __init__(self, broker: KafkaBroker, worker: Worker, group: str) -> None:
        self.broker, self.worker, self.group = broker, worker, group
        self.losses = Losses(broker._cluster)

    async def producer(self, task: int) -> Producer:
        return await self.broker.producer(f"{self.group}.part/{task}", group=self.group, inputs=[self.tp("in", task)])

    async def commit(self, producer: Producer, task: int, number: int) -> Any:
        return await producer.commit(self.transaction(task, number))

    def transaction(self, task: int, number: int) -> Transaction:
        return Transaction(
            group=self.group,
            outputs={self.tp("out", task): outgoing(number)},
            offsets={self.tp("in", task): Committed(number, f"mark {number}")},
        )

    async def written(self, task: int) -> list[bytes | None]:
        return values(await read_all(self.broker, self.tp("out", task)))

    async def position(self, task: int) -> Committed | None:
        tp = self.tp("in", task)
        return (await self.broker.committed(self.group, [tp])).get(tp)

    async def lose_place(self) -> None:
        """Have the coordinator forget this member, as when its lease has run out."""
        seat: Seat = self.worker.membership.seat  # type: ignore[attr-defined]
        await seat.through(self.broker._cluster).leave()

    def tp(self, name: str, task: int) -> TopicPartition:
        return TopicPartition(f"{self.group}-{name}", task)


class Group:
    """Members of one group, made one by one."""

    def __init__(self, opened: Handles, name: str) -> None:
        self._opened, self.name = opened, name

    async def member(self, id_: str) -> Member:
        broker = await self._opened.open()
        for topic in ("in", "out"):
            await broker.create_topic(TopicSpec(name=f"{self.name}-{topic}", partitions=4, retention=None))
        tasks = {f"part/{n}": [TopicPartition(f"{self.name}-in", n)] for n in range(4)}
        return Member(broker, Worker(await broker.join(self.name, id_, tasks)), self.name)


@pytest.fixture
async def group(kafka: Cluster) -> AsyncIterator[Group]:
    async with handles(kafka.url) as opened:
        yield Group(opened, unique("group"))


class Gate:
    """Holds up requests of a kind until it is opened; it is reached once so many are there."""

    def __init__(self, losses: Losses, kind: str, requests: int = 1) -> None:
        self.reached, self.opened = asyncio.Event(), asyncio.Event()
        self._left = requests
        losses.before[kind] = self._hold

    async def _hold(self, request: Any) -> None:
        self._left -= 1
        if self._left <= 0:
            self.reached.set()
        async with asyncio.timeout(LONG):
            await self.opened.wait()
