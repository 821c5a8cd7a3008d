"""A group on a real broker: members that die, hang, restart, upgrade, and what everybody can see of them."""

from __future__ import annotations

import asyncio
import signal

import pytest

from flows.brokers.base import Committed, TopicPartition, TopicSpec, Transaction
from flows.brokers.kafka.members import Members
from flows.clock import SystemClock
from flows.errors import BrokerError, Fenced, Replaced, TopicMismatch
from tests.kafka.cluster import Cluster, unique
from tests.kafka.members import LONG, TASKS, Remote, Worker, handles, holds

LEASE = 2.0


@pytest.fixture
def group() -> str:
    return unique("group")


async def test_the_tasks_of_a_killed_member_go_to_the_others_when_its_lease_has_run_out(kafka: Cluster, group: str):
    dying = await Remote.start(kafka.url, LEASE, group, "dying")
    await dying.says(holds(6))
    async with handles(kafka.url, LEASE) as opened:
        staying = await opened.worker(group, "staying")
        await staying.has(3)
        await dying.kill()

        assert await staying.has(6) == frozenset(TASKS)
        assert [m.id for m in await staying.membership.members()] == ["staying"]


async def test_a_member_that_was_stopped_too_long_learns_that_its_place_is_lost(kafka: Cluster, group: str):
    zombie = await Remote.start(kafka.url, LEASE, group, "zombie")
    try:
        await zombie.says(holds(6))
        async with handles(kafka.url, LEASE) as opened:
            staying = await opened.worker(group, "staying")
            await zombie.says(holds(3))
            await staying.has(3)

            zombie.signal(signal.SIGSTOP)
            await staying.has(6)
            zombie.signal(signal.SIGCONT)

            said = await zombie.says(lambda said: "error" in said)
            assert said["error"] == "Fenced"
            assert "lost its place" in said["text"]
            assert said["members"] == ["staying"]
            assert staying.held == frozenset(TASKS)
    finally:
        await zombie.kill()


async def test_a_static_member_that_restarts_moves_nothing(kafka: Cluster, group: str):
    async with handles(kafka.url, 10.0) as opened:
        old = await opened.worker(group, "a", static=True, address="old:1")
        other = await opened.worker(group, "b", static=True)
        await other.has(3)
        kept, generation = await old.has(3), other.membership.generation
        await old.leave()
        assert [m.id for m in await other.membership.members()] == ["b"]

        new = await opened.worker(group, "a", static=True, address="new:1")

        assert await new.has(3) == kept
        assert new.membership.generation == other.membership.generation == generation
        assert {m.id: m.address for m in await other.membership.members()} == {"a": "new:1", "b": ""}
        assert other.history[-1] == frozenset(TASKS) - kept
        # The group is a working one: a third member gets its share.
        third = await opened.worker(group, "c")
        await asyncio.gather(new.has(2), other.has(2), third.has(2))


async def test_a_static_member_that_is_killed_and_starts_again_moves_nothing(kafka: Cluster, group: str):
    async with handles(kafka.url, 10.0) as opened:
        other = await opened.worker(group, "b", static=True)
        killed = await Remote.start(kafka.url, 10.0, group, "a", static=True)
        before = await killed.says(holds(3))
        await other.has(3)
        await killed.kill()
        again = await Remote.start(kafka.url, 10.0, group, "a", static=True)
        try:
            assert await again.says(holds(3)) == before
            assert other.membership.generation == before["generation"]
        finally:
            await again.kill()


async def test_a_static_member_that_stays_away_loses_its_tasks(kafka: Cluster, group: str):
    async with handles(kafka.url, LEASE) as opened:
        away = await opened.worker(group, "away", static=True)
        staying = await opened.worker(group, "staying")
        await asyncio.gather(away.has(3), staying.has(3))
        await away.leave()

        assert await staying.has(6) == frozenset(TASKS)


async def test_a_static_member_that_restarts_before_it_released_a_task_does_not_hold_up_the_others(
    kafka: Cluster, group: str
):
    async with handles(kafka.url, 10.0) as opened:
        broker = await opened.open(kafka_instance_id="a")
        old = await broker.join(group, "a", dict.fromkeys(TASKS, ()))
        assert len(await old.assignment()) == 6
        other = await opened.worker(group, "b")
        assert len(await old.assignment()) == 3
        await old.leave()  # without a release

        new = await opened.worker(group, "a", static=True)
        await asyncio.gather(new.has(3), other.has(3))


async def test_static_members_are_upgraded_one_by_one_and_no_plan_shares_tasks_with_another(kafka: Cluster, group: str):
    async with handles(kafka.url, 10.0) as opened:
        old = [await opened.worker(group, name, static=True, plan="1") for name in "ab"]
        await asyncio.gather(*(worker.has(3) for worker in old))
        await old[0].leave()

        first = await opened.worker(group, "a", static=True, plan="2")
        assert await old[1].has(6) == frozenset(TASKS)
        assert first.held == frozenset()
        assert {m.id: m.plan for m in await first.membership.members()} == {"a": "2", "b": "1"}
        await old[1].leave()
        second = await opened.worker(group, "b", static=True, plan="2")

        await asyncio.gather(first.has(3), second.has(3))
        assert not first.held & second.held


async def test_the_older_of_two_holders_of_an_instance_id_is_told_and_the_newer_goes_on(kafka: Cluster, group: str):
    async with handles(kafka.url, LEASE) as opened:
        older = await opened.worker(group, "same", static=True)
        await older.has(6)
        newer = await opened.worker(group, "same", static=True)

        await older.until(lambda worker: worker.error)
        assert isinstance(older.error, Replaced)
        assert "another process joined with the same id" in str(older.error)
        assert await newer.has(6) == frozenset(TASKS)
        assert [m.id for m in await newer.membership.members()] == ["same"]
        assert await older.membership.members() == []


async def test_kafkas_own_tools_show_who_reads_each_partition_and_its_lag(kafka: Cluster, group: str):
    topic = unique("input")
    tps = [TopicPartition(topic, n) for n in range(2)]
    async with handles(kafka.url, LEASE) as opened:
        broker = await opened.open()
        await broker.create_topic(TopicSpec(name=topic, partitions=2))
        tasks = {f"part/{tp.partition}": [tp] for tp in tps}
        workers = [await opened.worker(group, name, tasks=tasks) for name in ("one", "two")]
        await asyncio.gather(*(worker.has(1) for worker in workers))
        producer = await broker.producer(unique("id"))
        await producer.commit(Transaction(group=group, offsets=dict.fromkeys(tps, Committed(0))))

        shown = await asyncio.to_thread(
            kafka.tool, "consumer.group.ConsumerGroupCommand", "--describe", "--group", group
        )

        rows = [line.split() for line in shown.splitlines() if topic in line]
        assert [(row[2], row[5]) for row in sorted(rows, key=lambda row: row[2])] == [("0", "0"), ("1", "0")]
        assert {row[6].split("-")[0] for row in rows} == {"one", "two"}


async def test_an_input_that_grows_stops_the_members(kafka: Cluster, group: str):
    topic = unique("growing")
    async with handles(kafka.url, LEASE) as opened:
        await (await opened.open()).create_topic(TopicSpec(name=topic, partitions=1))
        worker = await opened.worker(group, "one", tasks={"part/0": [TopicPartition(topic, 0)]})
        await worker.has(1)

        await asyncio.to_thread(kafka.tool, "TopicCommand", "--alter", "--topic", topic, "--partitions", "2")

        await worker.until(lambda worker: worker.error)
        assert isinstance(worker.error, TopicMismatch)
        assert f"{topic!r} has 2 partitions now, and the tasks read 1" in str(worker.error)


async def test_a_group_of_other_consumers_is_left_alone(kafka: Cluster, group: str):
    from aiokafka import AIOKafkaConsumer

    topic = unique("theirs")
    async with handles(kafka.url, LEASE) as opened:
        broker = await opened.open()
        await broker.create_topic(TopicSpec(name=topic))
        theirs = AIOKafkaConsumer(topic, bootstrap_servers=kafka.bootstrap, group_id=group)
        await theirs.start()
        try:
            with pytest.raises(BrokerError, match="members that are no workers of Flows"):
                await broker.join(group, "one", dict.fromkeys(TASKS, ()))
        finally:
            await theirs.stop()


async def test_a_lease_that_the_brokers_refuse_is_told(kafka: Cluster, group: str):
    async with handles(kafka.url, 0.1) as opened:
        with pytest.raises(BrokerError, match=r"refuse a lease of 0\.1 s.*group\.min\.session\.timeout\.ms"):
            await opened.worker(group, "one")


async def test_a_copy_is_warmed_up_before_its_task_moves(kafka: Cluster, group: str):
    async with handles(kafka.url, LEASE) as opened:
        tasks = {task: [TopicPartition("nowhere", n)] for n, task in enumerate(TASKS[:2])}
        broker = await opened.open()
        one = await broker.join(group, "one", tasks, lags=dict.fromkeys(tasks, 0))
        assert await asyncio.wait_for(one.assignment(), LONG) == tasks.keys()
        two = await (await opened.open()).join(group, "two", tasks)

        assert await asyncio.wait_for(two.assignment(), LONG) == frozenset()
        (copy,) = two.standbys
        await two.report({copy: 500_000})
        assert {m.id: m.tasks for m in await two.members()} == {"one": tuple(sorted(tasks)), "two": ()}
        await two.report({copy: 100})

        assert await asyncio.wait_for(one.assignment(), LONG) == tasks.keys() - {copy}
        await one.release([copy])
        assert await asyncio.wait_for(two.assignment(), LONG) == {copy}


async def test_a_standby_takes_over_from_a_member_that_left(kafka: Cluster, group: str):
    async with handles(kafka.url, LEASE) as opened:
        tasks = {task: [TopicPartition("nowhere", n)] for n, task in enumerate(TASKS[:3])}
        joined = []
        for name in ("one", "two", "three"):
            membership = await (await opened.open()).join(group, name, tasks, standbys=1)
            joined.append((Worker(membership), membership))
        for worker, _ in joined:
            await worker.has(1)
        async with asyncio.timeout(LONG):
            while any(len(membership.standbys) != 1 for _, membership in joined):
                await asyncio.gather(*(membership.members() for _, membership in joined))
        for worker, membership in joined:
            await membership.report(dict.fromkeys(worker.held | membership.standbys, 0))

        leaving, going = joined[0]
        (task,) = leaving.held
        (keeper,) = [worker for worker, membership in joined if task in membership.standbys]
        assert going.standbys != leaving.held
        await leaving.leave()

        await keeper.until(lambda worker: task in worker.held)


async def test_what_a_lost_place_answers(kafka: Cluster, group: str):
    async with handles(kafka.url, LEASE) as opened:
        first = await opened.worker(group, "same")
        await first.has(6)
        await opened.worker(group, "same")
        await first.until(lambda worker: worker.error)

        with pytest.raises(Fenced, match="same"):
            await first.membership.release(TASKS)
        with pytest.raises(Fenced, match="same"):
            await first.membership.assignment()
        await first.membership.leave()


async def test_the_entries_of_members_that_died_are_removed(kafka: Cluster, group: str):
    dying = await Remote.start(kafka.url, LEASE, group, "dying")
    await dying.says(holds(6))
    async with handles(kafka.url, LEASE) as opened:
        staying = await opened.worker(group, "staying")
        await staying.has(3)
        await staying.membership.members()
        await dying.kill()
        await staying.has(6)
        third = await opened.worker(group, "third")
        await third.has(3)

        members = Members(await opened.open(), group, SystemClock())
        assert (await members.read()).keys() == {"staying", "third"}
        await members.close()
