"""W1: a million JSON events of about 80 bytes, 10,000 users drawn uniformly, event time advancing 1/2000 s an event."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from flows.brokers.base import Outgoing, TopicPartition, TopicSpec
from flows.brokers.registry import open_broker
from flows.route.partitioner import Partitioner

EVENTS, USERS, PAGES, PARTITIONS = 1_000_000, 10_000, 50, 4
TOPIC = "events"
_BATCH = 4_000


def events(count: int) -> Iterator[tuple[str, bytes, float]]:
    """Yield (user, JSON, time); always the same."""
    draw = random.Random(1)
    for i in range(count):
        user, time = f"user{draw.randrange(USERS):05d}", 1_700_000_000 + i / 2000
        amount = draw.randrange(10_000) / 100
        text = f'{{"user":"{user}","page":"/page/{draw.randrange(PAGES)}","amount":{amount},"ts":{time}}}'
        yield user, text.encode(), time


async def fill(folder: Path, count: int) -> None:
    """Write the events to a fresh embedded broker, keyed by user."""
    broker = open_broker(f"embedded://{folder}")
    await broker.start()
    await broker.create_topic(TopicSpec(name=TOPIC, partitions=PARTITIONS))
    partitioner = Partitioner(PARTITIONS)
    waiting = {TopicPartition(TOPIC, p): Outgoing() for p in range(PARTITIONS)}
    for user, text, time in events(count):
        key = user.encode()
        out = waiting[TopicPartition(TOPIC, partitioner.of(key))]
        out.append(key, text, int(time * 1000))
        if len(out) >= _BATCH:
            await broker.produce({tp: o for tp, o in waiting.items() if len(o)})
            waiting = {tp: Outgoing() for tp in waiting}
    await broker.produce({tp: o for tp, o in waiting.items() if len(o)})
    await broker.close()
