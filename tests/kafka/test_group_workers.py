"""Whole workers in a group on Kafka: restarted one by one without a round, and two of one id."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import time

import flows
from flows.brokers.base import Broker, Outgoing, TopicPartition
from flows.brokers.registry import open_broker
from flows.errors import Replaced
from flows.run.worker import Worker
from flows.settings import load_settings
from tests.kafka.cluster import Cluster, unique
from tests.kafka.members import LONG

PARTITIONS = 4


class Counting:
    """An app that counts words, on a cluster; its workers share a data folder, as on one machine."""

    def __init__(self, cluster: Cluster, data: Path, broker: Broker) -> None:
        self.cluster, self.data, self.broker = cluster, data, broker
        self.app = app = flows.App(unique("counting"))
        self.topic = unique("words")
        self.started: list[tuple[Worker, asyncio.Task[None]]] = []
        words = app.topic(self.topic, value=str, partitions=PARTITIONS)
        self.counts = counts = app.table("counts", key=str, value=int, default=int)

        @app.agent(words)
        async def count(stream):
            async for word in stream:
                counts[word] += 1

    def start(self, instance: str) -> tuple[Worker, asyncio.Task[None]]:
        options = {"data": str(self.data), "broker": self.cluster.url, "web_port": "-1", "lease": "20s"}
        worker = Worker(self.app, load_settings(self.app.id, {**options, "instance_id": instance}, environ={}))
        run = asyncio.create_task(worker.run())
        self.started.append((worker, run))
        return worker, run

    async def close(self) -> None:
        for worker, _ in self.started:
            worker.stop()
        await asyncio.gather(*(run for _, run in self.started), return_exceptions=True)

    async def send(self, word: str) -> None:
        """Send a word to every partition."""
        out = Outgoing([None], [word.encode()], [int(time() * 1000)])  # Kafka drops records of 1970 at once
        await self.broker.produce({TopicPartition(self.topic, p): out for p in range(PARTITIONS)})

    async def processed(self, records: int, running: list[asyncio.Task[None]]) -> None:
        """Wait until so many records of each partition are committed."""
        tps = [TopicPartition(self.topic, p) for p in range(PARTITIONS)]

        async def done() -> bool:
            found = await self.broker.committed(self.app.id, tps)
            return len(found) == PARTITIONS and min(c.offset for c in found.values()) >= records

        await self.until(done, running)

    async def holding(self, shares: dict[str, int], running: list[asyncio.Task[None]]) -> dict[str, tuple[str, ...]]:
        """Wait until the members hold so many tasks each; return them."""
        found: dict[str, tuple[str, ...]] = {}

        async def done() -> bool:
            found.clear()
            found.update({m.id: m.tasks for m in await self.broker.group_members(self.app.id)})
            return {id_: len(tasks) for id_, tasks in found.items()} == shares

        await self.until(done, running)
        return dict(found)

    async def until(self, done: Callable[[], Awaitable[bool]], running: list[asyncio.Task[None]]) -> None:
        async with asyncio.timeout(LONG):
            while not await done():
                for run in running:
                    assert not run.done() or run.result()


@asynccontextmanager
async def counting(cluster: Cluster, data: Path) -> AsyncIterator[Counting]:
    broker = open_broker(cluster.url)
    await broker.start()
    app = Counting(cluster, data, broker)
    try:
        yield app
    finally:
        await app.close()
        await broker.close()


def generation_of(worker: Worker) -> int:
    assert worker._handover is not None
    return worker._handover._member.generation


async def test_workers_that_restart_one_by_one_move_nothing(kafka: Cluster, tmp_path: Path) -> None:
    async with counting(kafka, tmp_path) as app:
        workers = {name: app.start(name) for name in "ab"}
        runs = [run for _, run in workers.values()]
        before = await app.holding({"a": 2, "b": 2}, runs)
        await app.send("one")
        await app.processed(1, runs)
        generations = [generation_of(worker) for worker, _ in workers.values()]

        for name in "ab":
            worker, run = workers[name]
            worker.stop()
            await run
            workers[name] = app.start(name)
            runs = [run for _, run in workers.values()]
            assert await app.holding({"a": 2, "b": 2}, runs) == before

        await app.send("two")
        await app.processed(2, runs)
        assert [generation_of(worker) for worker, _ in workers.values()] == generations


async def test_of_two_workers_of_one_id_the_older_ends_and_says_so(kafka: Cluster, tmp_path: Path) -> None:
    async with counting(kafka, tmp_path) as app:
        _, older = app.start("same")
        await app.holding({"same": PARTITIONS}, [older])
        _, newer = app.start("same")

        done, _ = await asyncio.wait([older, newer], timeout=LONG, return_when=asyncio.FIRST_COMPLETED)

        assert done == {older}
        error = older.exception()
        assert isinstance(error, Replaced)
        assert "another process joined with the same id" in str(error)
        await app.send("one")
        await app.processed(1, [newer])
