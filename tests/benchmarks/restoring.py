"""`make bench ARGS=--restore`: a million changelog records from a Kafka broker into empty stores, one a task.

The changelogs are written as tasks write them, a transaction after another, and restored by four tasks at once, as by a
worker that has lost its disk. `rows` says how many keys they have: each its own, or few that change again and again.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from flows.brokers.base import Broker, Outgoing, TopicPartition, TopicSpec, Transaction
from flows.brokers.registry import open_broker
from flows.run.stores import Stores
from flows.state.base import Store
from flows.state.keys import KeyCodec
from flows.state.restore import restore
from tests.kafka.cluster import Cluster, unique

TASKS = 4
FEW = 10_000
_TRANSACTION = 2_000
"""Records of a commit; a key is in it once, so there are no fewer keys."""

_TABLE = "totals"


async def fill(broker: Broker, topic: str, records: int, rows: int) -> dict[TopicPartition, dict[bytes, bytes]]:
    """Write a changelog of up to so many rows for each task; return the rows that each must come back with."""
    assert rows >= _TRANSACTION, "a commit has a key once"
    await broker.create_topic(TopicSpec(name=topic, partitions=TASKS, cleanup="compact", internal=True))
    encode = KeyCodec((str,)).encode
    wanted = {}
    for task in range(TASKS):
        tp = TopicPartition(topic, task)
        producer = await broker.producer(f"{topic}-{task}")
        found = wanted[tp] = dict[bytes, bytes]()
        for start in range(task, records, TASKS * _TRANSACTION):
            numbers = range(start, min(start + TASKS * _TRANSACTION, records), TASKS)
            batch = {encode(f"user{n % (rows * TASKS):09d}"): b"%020d-%020d" % (n, n * n) for n in numbers}
            found.update(batch)
            out = Outgoing(list(batch), list(batch.values()), [n // 1000 for n in numbers][: len(batch)])
            await producer.commit(Transaction(group=topic, outputs={tp: out}, offsets={}))
        await producer.close()
    return wanted


async def measure(cluster: Cluster, records: int, rows: int, folder: Path) -> dict[str, Any]:
    """Return the figures of one restore, whose result is compared."""
    broker = open_broker(cluster.url)
    await broker.start()
    try:
        topic = unique("restore-changelog")
        wanted = await fill(broker, topic, records, rows)
        shared = Stores(folder / topic, 256 << 20, 64 << 20)
        stores = {tp: shared.open(str(tp.partition)) for tp in wanted}
        load, cpu, begun = os.getloadavg()[0], process_time(), perf_counter()
        await asyncio.gather(*(_restored(store, broker, tp) for tp, store in stores.items()))
        seconds, cpu = perf_counter() - begun, process_time() - cpu
        for tp, store in stores.items():
            assert dict(store.scan(_TABLE)) == wanted[tp], f"{tp} came back otherwise"
            store.close()
    finally:
        await broker.close()
    return {
        "workload": "restore",
        "records": records,
        "rows": sum(map(len, wanted.values())),
        "tasks": TASKS,
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu, 3),
        "records_per_second": round(records / seconds),
        "records_per_cpu_second": round(records / cpu),
        "load": round(load, 2),
    }


async def _restored(store: Store, broker: Broker, tp: TopicPartition) -> None:
    await restore(store, broker, {_TABLE: tp})


def run(records: int, runs: int) -> list[dict[str, Any]]:
    """Measure both kinds of changelogs in turn."""
    found = []
    with (
        tempfile.TemporaryDirectory(prefix="flows-bench-") as folder,
        Cluster(Path(folder) / "kafka", heap="1g", optimised=True) as cluster,
    ):
        for _ in range(runs):
            for rows in (records, FEW // TASKS):
                figures = asyncio.run(measure(cluster, records, rows, Path(folder)))
                found.append(figures)
                print(_line(figures), flush=True)
    return found


def _line(figures: dict[str, Any]) -> str:
    return (
        f"restore {figures['records']:,} records, {figures['rows']:,} rows: "
        f"{figures['records_per_second']:>9,} records/s over {figures['tasks']} tasks, "
        f"{figures['records_per_cpu_second']:,} per CPU second; "
        f"{figures['cpu_seconds']} s of CPU, load {figures['load']}"
    )
