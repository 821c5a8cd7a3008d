"""`make bench ARGS=--latency`: from a record's due time to a read_committed consumer of what Flows made of it.

Events are due at a fixed pace, 5,000 a second over 8 partitions, and the time counts from when an event was due, not
from when the producer came round to sending it: a stall is felt by every event that waits behind it. Percentiles are
exact, of all events but the first sixth. It is one hop: topic, filter and columns, topic; a table is kept beside it.
The broker is new, and its JVM has not compiled itself yet: a run of each guarantee is not counted.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import TopicPartition

from tests.benchmarks.contestants import Contestant, Entry, flows_worker
from tests.benchmarks.processes import Running, cpu_seconds
from tests.kafka.cluster import Cluster, unique

PACE, TASKS = 5_000, 8
_TICK = 0.002
_READY_SECONDS, _QUIET_SECONDS = 120.0, 30.0
_decode = msgspec.json.Decoder(dict[str, float | str]).decode


class Run:
    """One guarantee's run: a producer on schedule, a worker of its own process, a consumer."""

    def __init__(self, cluster: Cluster, guarantee: str, seconds: float, folder: Path) -> None:
        self.cluster, self.guarantee, self.folder = cluster, guarantee, folder
        self.count, self.warm = int(PACE * seconds), int(PACE * seconds / 6)
        self.group = unique(guarantee.replace("_", "-"))
        self.inputs, self.outputs = f"{self.group}-in", f"{self.group}-out"
        self.seen: dict[int, float] = {}
        self.first = asyncio.Event()
        self.begun = 0.0

    async def __call__(self) -> dict[str, Any]:
        """Return the figures."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.cluster.bootstrap)
        await admin.start()
        names = [self.inputs, self.outputs]
        await admin.create_topics([NewTopic(name, TASKS, 1, topic_configs={"retention.ms": "-1"}) for name in names])
        await admin.close()
        entry = Entry(self.cluster.bootstrap, self.inputs, self.group, self.folder / self.group, [])
        contestant = Contestant("latency", self.guarantee, flows_worker("tests.benchmarks.latency_app", self.guarantee))
        log = self.folder / f"{self.group}.log"
        process = await asyncio.to_thread(Running, contestant.command(entry), entry, log)
        try:
            async with AIOKafkaProducer(bootstrap_servers=self.cluster.bootstrap, linger_ms=0) as producer:
                reading = asyncio.create_task(self._read())
                try:
                    await self._until_up(producer, reading)
                    load, cpu = os.getloadavg()[0], cpu_seconds(process.pid)
                    await self._send(producer)
                    cpu = cpu_seconds(process.pid) - cpu
                    async with asyncio.timeout(_QUIET_SECONDS):
                        await reading
                finally:
                    reading.cancel()
                    with suppress(asyncio.CancelledError):
                        await reading
        except TimeoutError:
            tail = await asyncio.to_thread(log.read_text)
            raise SystemExit(f"{len(self.seen)} of {self.count} events came out; the worker:\n{tail[-3000:]}") from None
        finally:
            await asyncio.to_thread(process.end)
        return self._figures(load, cpu)

    async def _until_up(self, producer: AIOKafkaProducer, reading: asyncio.Task[None]) -> None:
        """Send one event to each partition, and wait until one has come out: the worker has its tasks then."""
        for number in range(-TASKS, 0):
            await producer.send_and_wait(self.inputs, _event(number), key=_user(number), partition=number % TASKS)
        waiting = asyncio.create_task(self.first.wait())
        await asyncio.wait({waiting, reading}, timeout=_READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            raise TimeoutError

    async def _send(self, producer: AIOKafkaProducer) -> None:
        """Send each event at its due time, or at once where that has passed."""
        self.begun = perf_counter()
        sent = 0
        while sent < self.count:
            due = min(self.count, int((perf_counter() - self.begun) * PACE))
            for number in range(sent, due):
                await producer.send(self.inputs, _event(number), key=_user(number), partition=number % TASKS)
            sent = due
            await asyncio.sleep(_TICK)
        await producer.flush()

    async def _read(self) -> None:
        """Note when each event came out, until all have."""
        settings = {"isolation_level": "read_committed", "auto_offset_reset": "earliest", "fetch_max_wait_ms": 100}
        async with AIOKafkaConsumer(bootstrap_servers=self.cluster.bootstrap, **settings) as consumer:
            consumer.assign([TopicPartition(self.outputs, partition) for partition in range(TASKS)])
            while len(self.seen) < self.count:
                found = await consumer.getmany(timeout_ms=1000)
                now = perf_counter()
                for records in found.values():
                    for record in records:
                        self._note(int(_decode(record.value)["number"]), now)

    def _note(self, number: int, now: float) -> None:
        if number < 0:
            self.first.set()
        else:
            self.seen.setdefault(number, now)

    def _figures(self, load: float, cpu: float) -> dict[str, Any]:
        waits = sorted(at - self.begun - n / PACE for n, at in self.seen.items() if n >= self.warm)

        def at(part: float) -> float:
            return round(waits[min(len(waits) - 1, int(part * len(waits)))] * 1000, 1)

        return {
            "workload": "latency",
            "guarantee": self.guarantee,
            "events_per_second": PACE,
            "tasks": TASKS,
            "events": len(waits),
            "p50_ms": at(0.5),
            "p99_ms": at(0.99),
            "p999_ms": at(0.999),
            "max_ms": round(waits[-1] * 1000, 1),
            "cpu_seconds": round(cpu, 2),
            "load": round(load, 2),
        }


def _user(number: int) -> bytes:
    """Name one of 1,000 users, each of whom is in one partition only, since these are a divisor of that."""
    return b"user%d" % (number % 1000)


def _event(number: int) -> bytes:
    return b'{"number":%d,"user":"%b","amount":1.5}' % (number, _user(number))


def run(runs: int, seconds: float) -> list[dict[str, Any]]:
    """Measure both guarantees in turn, once the broker is warm."""
    found = []
    with (
        tempfile.TemporaryDirectory(prefix="flows-bench-") as folder,
        Cluster(Path(folder) / "kafka", heap="1g", optimised=True) as cluster,
    ):
        for number in range(runs + 1):
            for guarantee in ("exactly_once", "at_least_once"):
                figures = asyncio.run(Run(cluster, guarantee, seconds, Path(folder))())
                if number:
                    found.append(figures)
                print(_line(figures) if number else f"not counted: {_line(figures)}", flush=True)
    return found


def _line(figures: dict[str, Any]) -> str:
    return (
        f"latency {figures['guarantee']:14} p50 {figures['p50_ms']} ms, p99 {figures['p99_ms']} ms, "
        f"p99.9 {figures['p999_ms']} ms, longest {figures['max_ms']} ms; {figures['events']:,} events at "
        f"{figures['events_per_second']:,}/s, {figures['tasks']} tasks, "
        f"{figures['cpu_seconds']} s of CPU, load {figures['load']}"
    )
