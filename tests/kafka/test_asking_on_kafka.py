"""Agents of two workers on Kafka ask each other; a worker whose agent waits for an answer still stops."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import time

import flows
from flows.brokers.base import Outgoing, TopicPartition
from flows.brokers.registry import open_broker
from flows.run.worker import Worker
from flows.settings import load_settings
from tests.kafka.cluster import Cluster, unique
from tests.kafka.members import LONG


async def test_agents_of_two_workers_ask_each_other(kafka: Cluster, tmp_path: Path) -> None:
    app = flows.App(unique("bank"))
    adds = app.topic(unique("adds"), value=dict, partitions=2)
    jobs = app.topic(unique("jobs"), value=dict, partitions=2)
    totals = app.table("totals", value=int, default=int)
    answers: list[list[int]] = []
    casts = asyncio.Event()
    stuck = asyncio.Event()

    @app.agent(adds)
    async def adder(stream):
        async for key, add in stream.items():
            if add == {"hang": True}:
                stuck.set()
                await asyncio.Event().wait()
            totals[key] += add["n"]
            if key == "cast" and totals[key] == 40:
                casts.set()
            yield totals[key]

    @app.agent(jobs)
    async def clerk(stream):
        async for job in stream:
            if "hang" in job:
                await adder.ask(job, key="hang", timeout="10m")
            answers.append([await adder.ask({"n": n}, key=f"k{job['job']}", timeout="1m") for n in (1, 2, 3)])
            await adder.cast({"n": 2}, key="cast")

    workers = []
    for number in range(2):
        options = {"data": str(tmp_path), "broker": kafka.url, "web_port": "-1", "instance_id": f"w{number}"}
        workers.append(Worker(app, load_settings(app.id, options, environ={})))
    broker = open_broker(kafka.url)
    await broker.start()
    running = [asyncio.create_task(worker.run()) for worker in workers]

    async def send(partition: int, *values: bytes) -> None:
        out = Outgoing([None] * len(values), list(values), [int(time() * 1000)] * len(values))
        await broker.produce({TopicPartition(jobs.name, partition): out})

    try:
        async with asyncio.timeout(LONG):
            while not all(worker.ready for worker in workers):  # noqa: ASYNC110  (no event tells)
                await asyncio.sleep(0.05)
            for partition in range(2):
                await send(partition, *(b'{"job": %d}' % (10 * partition + n) for n in range(10)))
            await casts.wait()
            assert answers == [[1, 3, 6]] * 20
            assert not any(worker.asking.waiting for worker in workers)
            await send(0, b'{"hang": true}')
            await stuck.wait()
            for worker in workers:
                worker.stop()
            await asyncio.gather(*running)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await broker.close()
