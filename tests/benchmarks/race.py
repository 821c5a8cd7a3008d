"""W1 on Kafka, for Flows and its peers alike.

1. The topic has one event in each partition. The contestant starts; it is ready when these are committed.
2. The other events come in one transaction, which nobody sees as yet: all read committed records only.
3. The transaction commits, and with that all events are there: the time begins.
4. It ends when the contestant's committed offsets are at the end of all partitions.

Everything is seen from outside, so that a start, an import or a first rebalance is in nobody's figures, and what is not
yet committed in nobody's either. Positions are asked for every 50 ms.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from itertools import islice
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from flows.route.partitioner import Partitioner
from tests.benchmarks.contestants import Contestant, Entry
from tests.benchmarks.processes import Running, cpu_seconds
from tests.benchmarks.workload import PARTITIONS, events
from tests.kafka.cluster import Cluster, unique

_BATCH_BYTES = 500_000
_READY_SECONDS, _RUN_SECONDS = 300.0, 1800.0
_TICK = 0.05

Event = tuple[bytes, bytes, int]
Positions = Callable[[], Awaitable[list[int]]]


async def race(contestant: Contestant, cluster: Cluster, count: int, folder: Path) -> dict[str, Any]:
    """Let one contestant process so many events and return its figures."""
    count = int(count * contestant.share)
    log = folder / f"{contestant.name}.log"
    warm, rest = _shares(count)
    names = unique("events"), unique(contestant.name)
    entry = Entry(cluster.bootstrap, *names, folder / names[1], [len(share) for share in rest])
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    await admin.start()
    process: Running | None = None
    try:
        # Event times lie in the past: with the default retention the broker would delete them at once.
        topic = NewTopic(entry.topic, PARTITIONS, 1, topic_configs={"retention.ms": "-1"})
        await admin.create_topics([topic])
        async with AIOKafkaProducer(bootstrap_servers=cluster.bootstrap) as producer:
            await _write(producer, entry.topic, warm)
        process = await asyncio.to_thread(Running, contestant.command(entry), entry, log)
        positions = _group(admin, entry.group) if contestant.commits_to_group else _snapshots(entry.folder)
        await _reach(positions, [1] * PARTITIONS, process, log, _READY_SECONDS)

        broker = cluster.brokers[0].pid
        settings = {"transactional_id": entry.topic, "transaction_timeout_ms": 600_000, "max_batch_size": _BATCH_BYTES}
        async with AIOKafkaProducer(bootstrap_servers=cluster.bootstrap, **settings) as producer:
            await producer.begin_transaction()
            await _write(producer, entry.topic, rest)
            load = os.getloadavg()[0]
            cpu, broker_cpu, begun = cpu_seconds(process.pid), cpu_seconds(broker), perf_counter()
            await producer.commit_transaction()
        await _reach(positions, [last + 1 for last in entry.ends], process, log, _RUN_SECONDS)
        seconds = perf_counter() - begun
        return {
            "contestant": contestant.name,
            "durability": contestant.durability,
            "events": count,
            "seconds": round(seconds, 3),
            "events_per_second": round(count / seconds),
            "cpu_seconds": round(cpu_seconds(process.pid) - cpu, 2),
            "broker_cpu_seconds": round(cpu_seconds(broker) - broker_cpu, 2),
            "load": round(load, 2),
        }
    finally:
        if process is not None:
            await asyncio.to_thread(process.end)
        await admin.delete_topics([entry.topic])
        await admin.close()


def _shares(count: int) -> tuple[list[list[Event]], list[list[Event]]]:
    """Return the events of each partition: the first one, and all others, `count` of them over all."""
    partitioner = Partitioner(PARTITIONS)
    warm: list[list[Event]] = [[] for _ in range(PARTITIONS)]
    rest: list[list[Event]] = [[] for _ in range(PARTITIONS)]
    for user, text, time in islice(events(count + PARTITIONS), count + PARTITIONS):
        key = user.encode()
        partition = partitioner.of(key)
        (rest if warm[partition] else warm)[partition].append((key, text, int(time * 1000)))
    return warm, rest


async def _write(producer: AIOKafkaProducer, topic: str, shares: list[list[Event]]) -> None:
    """Write events in batches as large as may be, and wait until all are acknowledged."""
    for partition, share in enumerate(shares):
        batch = producer.create_batch()
        for key, value, timestamp in share:
            if batch.append(key=key, value=value, timestamp=timestamp) is None:
                await (await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                batch.append(key=key, value=value, timestamp=timestamp)
        await (await producer.send_batch(batch, topic, partition=partition))


def _group(admin: AIOKafkaAdminClient, group: str) -> Positions:
    """Read the offsets that a consumer group has committed."""

    async def positions() -> list[int]:
        try:
            found = await admin.list_consumer_group_offsets(group, group_coordinator_id=1)
        except KafkaError as error:
            # The topic of the offsets is made with the first group.
            if not error.retriable:
                raise
            return [0] * PARTITIONS
        at = {tp.partition: committed.offset for tp, committed in found.items()}
        return [at.get(partition, 0) for partition in range(PARTITIONS)]

    return positions


def _snapshots(folder: Path) -> Positions:
    """Read the offsets that Bytewax keeps with the snapshots of its state, of epochs that are whole."""

    def read() -> list[int]:
        at: dict[int, int] = {}
        for file in folder.glob("*.sqlite3"):
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
                if database.execute(
                    "SELECT COUNT(*) FROM sqlite_master WHERE name IN ('snaps', 'fronts')"
                ).fetchone() != (2,):
                    continue
                for key, change in database.execute(_SNAPSHOTS):
                    at[int(key.split("-")[0])] = pickle.loads(change)
        return [at.get(partition, 0) for partition in range(PARTITIONS)]

    async def positions() -> list[int]:
        return await asyncio.to_thread(read)

    return positions


_SNAPSHOTS = (
    "SELECT state_key, ser_change FROM snaps WHERE step_id = 'w1.views' "
    "AND snap_epoch < (SELECT MAX(worker_frontier) FROM fronts) ORDER BY snap_epoch"
)


async def _reach(positions: Positions, wanted: list[int], process: Running, log: Path, seconds: float) -> None:
    deadline = monotonic() + seconds
    while True:
        found = await positions()
        if all(at >= least for at, least in zip(found, wanted, strict=True)):
            return
        if process.ended is not None or monotonic() > deadline:
            raise SystemExit(f"{log.stem} is at {found}, not at {wanted}; it {_state(process)}:\n{_tail(log)}")
        await asyncio.sleep(_TICK)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-30:])


def _state(process: Running) -> str:
    return "still runs" if process.ended is None else f"ended with {process.ended}"
