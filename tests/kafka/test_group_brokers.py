"""Groups while brokers go away: the coordinator restarts, is killed, hangs, and moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest

from flows.brokers.base import TopicPartition, TopicSpec
from flows.brokers.kafka.broker import KafkaBroker
from flows.brokers.kafka.cluster import GROUP
from flows.errors import BrokerUnavailable
from tests.kafka.cluster import Broker, Cluster, unique
from tests.kafka.members import LONG, TASKS, Handles, Worker, handles


@pytest.fixture
def group() -> str:
    return unique("group")


async def pair(opened: Handles, group: str) -> tuple[Worker, Worker]:
    """Two members that share the tasks."""
    one, two = await opened.worker(group, "one"), await opened.worker(group, "two")
    await asyncio.gather(one.has(3), two.has(3))
    return one, two


async def listed_by(worker: Worker) -> list[str]:
    """Ask a worker for the members, as often as it takes."""
    async with asyncio.timeout(2 * LONG):
        while True:
            with suppress(BrokerUnavailable):
                return [m.id for m in await worker.membership.members()]


async def nothing_moved(workers: tuple[Worker, Worker], generation: int, histories: list[int]) -> None:
    """Wait until the coordinator has confirmed both; check that neither was told anything meanwhile."""
    for worker in workers:
        listed = await listed_by(worker)
        assert worker.error is None
        assert listed == ["one", "two"]
        assert worker.membership.generation == generation
    assert [len(worker.history) for worker in workers] == histories


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_broker_that_restarts_moves_nothing(
    kafka_cluster: Callable[..., Cluster], group: str, how: str
) -> None:
    # A killed broker counts the leases from some seconds before it answers again.
    cluster = await asyncio.to_thread(kafka_cluster)
    async with handles(cluster.url, 15.0) as opened:
        workers = await pair(opened, group)
        generation, histories = workers[0].membership.generation, [len(worker.history) for worker in workers]

        await asyncio.to_thread(getattr(cluster.brokers[0], how))
        await asyncio.to_thread(cluster.brokers[0].start)

        await nothing_moved(workers, generation, histories)
        third = await opened.worker(group, "three")
        await asyncio.gather(third.has(2), *(worker.has(2) for worker in workers))


async def coordinator_of(cluster: Cluster, broker: KafkaBroker, group: str) -> Broker:
    """Return the broker that coordinates a group."""
    node = await broker._cluster.coordinator(GROUP, group)
    return next(found for found in cluster.brokers if found.node == node)


@pytest.mark.parametrize("how", ["stop", "kill", "suspend"])
async def test_a_group_goes_on_when_its_coordinator_is_lost(kafka_three: Cluster, group: str, how: str) -> None:
    async with handles(kafka_three.url, 15.0) as opened:
        workers = await pair(opened, group)
        generation, histories = workers[0].membership.generation, [len(worker.history) for worker in workers]
        lost = await coordinator_of(kafka_three, await opened.open(), group)

        await asyncio.to_thread(getattr(lost, how))
        try:
            await nothing_moved(workers, generation, histories)
            third = await opened.worker(group, "three")
            await asyncio.gather(third.has(2), *(worker.has(2) for worker in workers))
            assert frozenset().union(*(w.held for w in (*workers, third))) == frozenset(TASKS)
        finally:
            await asyncio.to_thread(kafka_three.start)


async def test_who_only_asks_for_offsets_finds_the_leader_that_follows_on_one_that_hangs(
    kafka_three: Cluster, group: str
) -> None:
    async with handles(kafka_three.url, 15.0) as opened:
        broker, tp = await opened.open(), TopicPartition(group, 0)
        await broker.create_topic(TopicSpec(name=group, partitions=1))
        assert await broker.end_offsets([tp]) == {tp: 0}
        leader = broker._cluster.leader(tp)
        hanging = next(found for found in kafka_three.brokers if found.node == leader)
        await asyncio.to_thread(hanging.suspend)
        try:
            async with asyncio.timeout(2 * LONG):
                while True:
                    with suppress(BrokerUnavailable):
                        assert await broker.end_offsets([tp]) == {tp: 0}
                        break
        finally:
            await asyncio.to_thread(kafka_three.start)


async def test_a_round_survives_the_death_of_its_coordinator(kafka_three: Cluster, group: str) -> None:
    async with handles(kafka_three.url, 15.0) as opened:
        one, two = await pair(opened, group)
        lost = await coordinator_of(kafka_three, await opened.open(), group)
        joining = [asyncio.create_task(opened.worker(group, name)) for name in ("three", "four", "five", "six")]
        await asyncio.to_thread(lost.kill)
        try:
            workers = [one, two, *await asyncio.gather(*joining)]
            await asyncio.gather(*(worker.has(1) for worker in workers))
            assert frozenset().union(*(worker.held for worker in workers)) == frozenset(TASKS)
        finally:
            await asyncio.to_thread(kafka_three.start)
