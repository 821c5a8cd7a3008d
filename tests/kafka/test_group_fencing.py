"""A process that was stopped for longer than its lease, and writes where Kafka itself would not refuse it."""

from __future__ import annotations

import signal

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
