"""Processes that are silent for longer than their lease: one that was stopped and one that is busy."""

from __future__ import annotations

import asyncio
import signal
import threading
import time

import pytest

from flows.brokers.base import TopicPartition, TopicSpec
from tests.kafka.cluster import Cluster, unique
from tests.kafka.members import Remote, handles, holds


async def test_a_zombie_appends_nothing_more_once_it_goes_on(kafka: Cluster) -> None:
    group, tp = unique("group"), TopicPartition(unique("appended"), 0)
    async with handles(kafka.url, 2.0) as opened:
        broker = await opened.open()
        await broker.create_topic(TopicSpec(name=tp.topic, retention=None))
        zombie = await Remote.start(kafka.url, 2.0, group, "zombie", appending=tp.topic)
        try:
            await zombie.says(holds(6))
            while not (await broker.end_offsets([tp]))[tp]:
                pass
            staying = await opened.worker(group, "staying")
            await zombie.says(holds(3))
            zombie.signal(signal.SIGSTOP)
            await staying.has(6)
            before = (await broker.end_offsets([tp]))[tp]
            zombie.signal(signal.SIGCONT)

            said = await zombie.says(lambda said: "error" in said)

            assert said["refused"] == "Fenced"
            # One at most, which was allowed just before the process was stopped.
            assert (await broker.end_offsets([tp]))[tp] <= before + 1
        finally:
            await zombie.kill()


async def test_a_computation_in_the_event_loop_does_not_cost_the_place(kafka: Cluster) -> None:
    group, lease = unique("group"), 2.0
    busy, seen = threading.Event(), threading.Event()
    found: list[set[str]] = []

    async def look() -> None:
        async with handles(kafka.url, lease) as others:
            broker = await others.open()
            busy.set()
            end = time.monotonic() + 3 * lease
            while time.monotonic() < end:
                found.append({m.id for m in await broker.group_members(group)})

    def look_on() -> None:
        try:
            asyncio.run(look())
        finally:
            seen.set()

    async with handles(kafka.url, lease) as opened:
        worker = await opened.worker(group, "busy")
        held = await worker.has(6)
        generation = worker.membership.generation
        looking = threading.Thread(target=look_on)
        looking.start()
        busy.wait()
        seen.wait()  # the loop stands still
        looking.join()

        assert found
        assert all(ids == {"busy"} for ids in found)
        assert [m.id for m in await worker.membership.members()] == ["busy"]
        assert (worker.held, worker.membership.generation, worker.error) == (held, generation, None)


async def test_a_round_waits_for_a_silent_member_and_all_go_on_meanwhile(
    kafka: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    group, lease = unique("group"), 2.0
    async with handles(kafka.url, lease) as opened:
        suspended = await Remote.start(kafka.url, 30.0, group, "slow")
        try:
            await suspended.says(holds(6))
            worker = await opened.worker(group, "quick")
            await suspended.says(holds(3))
            await worker.has(3)
            suspended.signal(signal.SIGSTOP)  # within its lease
            joining = asyncio.create_task(opened.worker(group, "third"))

            # Confirmed again and again, while the round waits for the slow one.
            for _ in range(3):
                assert {m.id for m in await worker.membership.members()} >= {"slow", "quick"}
                assert not joining.done()
            # One that leaves does not wait for it either.
            caplog.clear()
            await worker.leave()
            assert not caplog.records
            suspended.signal(signal.SIGCONT)
            third = await joining

            await third.has(3)
            assert [m.id for m in await third.membership.members()] == ["slow", "third"]
        finally:
            await suspended.kill()
