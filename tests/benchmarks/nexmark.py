"""`make bench ARGS=--nexmark`: each query of Nexmark over the same events, on the embedded broker, exactly-once."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from flows.brokers.base import Outgoing, TopicPartition, TopicSpec
from flows.brokers.registry import open_broker
from flows.route.partitioner import Partitioner
from tests.benchmarks.draining import drain
from tests.nexmark.house import query

QUERIES = ["q0", "q1", "q2", "q3", "q4", "q5", "q7", "q8", "q11", "q12"]
RATE = 10_000.0
"""Events a second of event time, Nexmark's own."""

_PARTITIONS, _BATCH = 4, 4_000


def run(names: Iterable[str], count: int) -> list[dict[str, Any]]:
    """Measure some queries over the first events. A figure counts those of the topics that a query reads."""
    with tempfile.TemporaryDirectory(prefix="flows-nexmark-") as folder:
        broker = f"embedded://{folder}/broker"
        counts = asyncio.run(_fill(broker, count))
        found = []
        for name in names:
            found.append(asyncio.run(_measure(name, Path(folder) / name, broker, counts)))
            print(
                f"{name:4} {found[-1]['events_per_second']:>9,} events/s   {found[-1]['events']:,} events in "
                f"{found[-1]['seconds']} s, {found[-1]['cpu_seconds']} s of CPU",
                flush=True,
            )
        return found


async def _measure(name: str, data: Path, broker: str, counts: Counter[str]) -> dict[str, Any]:
    app = query(name).app
    events = sum(counts[topic] for part in app.plan().subtopologies for topic in part.inputs)
    seconds, cpu, _ = await drain(app, data, broker)
    return {
        "workload": f"nexmark {name}",
        "broker": "embedded",
        "guarantee": "exactly_once",
        "events": events,
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu, 3),
        "events_per_second": round(events / seconds),
    }


async def _fill(url: str, count: int) -> Counter[str]:
    """Write the events to a fresh broker; return how many there are by topic."""
    broker = open_broker(url)
    await broker.start()
    counts: Counter[str] = Counter()
    partitioner, waiting = Partitioner(_PARTITIONS), {}
    for kind in ("persons", "auctions", "bids"):
        await broker.create_topic(TopicSpec(name=f"nexmark-{kind}", partitions=_PARTITIONS, retention=None))
    for event in query("events").events(count, rate=RATE):
        topic, key = f"nexmark-{type(event).__name__.lower()}s", str(getattr(event, "auction", None) or event.id)
        out = waiting.setdefault(TopicPartition(topic, partitioner.of(key.encode())), Outgoing())
        out.append(key.encode(), msgspec.json.encode(event), int(event.at * 1000))
        counts[topic] += 1
        if len(out) >= _BATCH:
            await broker.produce(waiting)
            waiting = {}
    await broker.produce(waiting)
    await broker.close()
    return counts
