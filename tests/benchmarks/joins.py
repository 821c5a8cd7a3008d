"""`make bench ARGS=--joins`: two inputs that alternate in time, joined in each way: embedded broker, exactly-once.

Each input has half of the records, 1,000 a second of event time, by 10,000 users drawn uniformly; what comes of a join
of streams is written to a topic. With a window of 10 s a view meets one payment on average.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import flows
from flows.brokers.base import Outgoing, TopicPartition, TopicSpec
from flows.brokers.registry import open_broker
from flows.route.partitioner import Partitioner
from tests.benchmarks.workload import PARTITIONS, USERS

VIEWS, PAYMENTS = "views", "payments"
_BATCH = 4_000
_A_SECOND = 2_000


class View(flows.Record):
    user: str
    page: str
    ts: float


class Payment(flows.Record):
    user: str
    amount: float
    ts: float


def _app(name: str) -> tuple[flows.App, flows.Topic, flows.Topic]:
    app = flows.App(f"joins-{name}")

    def topic(name: str, value: type[flows.Record]) -> flows.Topic:
        return app.topic(name, value=value, key="user", timestamp="ts", partitions=PARTITIONS, partitioned_by="murmur2")

    return app, topic(VIEWS, View), topic(PAYMENTS, Payment)


def window() -> flows.App:
    """Return a join of two streams in a window of 10 s."""
    app, views, payments = _app("window")
    joined = views.join(payments, "user", before=0, after="10s", suffix="_paid")
    joined.to(app.topic("joined", value=dict, partitions=PARTITIONS))
    return app


def stream_table() -> flows.App:
    """Return a join of a stream with the latest rows of a topic."""
    app, views, payments = _app("stream-table")
    joined = views.join(payments.table("last"), how="left", suffix="_paid")
    joined.to(app.topic("joined", value=dict, partitions=PARTITIONS))
    return app


def versioned() -> flows.App:
    """Return a join of a stream with the rows of a topic as they were at a record's time."""
    app, views, payments = _app("versioned")
    joined = views.join(payments.table("last", versioned="10s"), how="left", suffix="_paid")
    joined.to(app.topic("joined", value=dict, partitions=PARTITIONS))
    return app


def table_table() -> flows.App:
    """Return a join of two tables."""
    app, views, payments = _app("table-table")
    views.table("viewed").join(payments.table("paid"), name="both", suffix="_paid")
    return app


def asof() -> flows.App:
    """Return a join of each record with the last one before it, within 10 s."""
    app, views, payments = _app("asof")
    joined = views.join_asof(payments, tolerance="10s", suffix="_paid")
    joined.to(app.topic("joined", value=dict, partitions=PARTITIONS))
    return app


def merged() -> flows.App:
    """Return two streams merged into one."""
    app, views, payments = _app("merged")
    both = views.select("user").merge(payments.select("user"))
    both.to(app.topic("merged", value=dict, partitions=PARTITIONS))
    return app


RUNS: dict[str, Callable[[], flows.App]] = {
    "window": window,
    "stream-table": stream_table,
    "versioned": versioned,
    "asof": asof,
    "table-table": table_table,
    "merged": merged,
}


def events(count: int) -> Iterator[tuple[str, str, bytes, float]]:
    """Yield (topic, user, JSON, time); always the same."""
    draw = random.Random(1)
    for i in range(count):
        user, time = f"user{draw.randrange(USERS):05d}", 1_700_000_000 + i / _A_SECOND
        what = f'"amount":{draw.randrange(10_000) / 100}' if i % 2 else f'"page":"/page/{draw.randrange(50)}"'
        yield (VIEWS, PAYMENTS)[i % 2], user, f'{{"user":"{user}",{what},"ts":{time}}}'.encode(), time


async def fill(folder: Path, count: int) -> None:
    """Write the events to a fresh embedded broker, keyed by user."""
    broker = open_broker(f"embedded://{folder}")
    await broker.start()
    partitioner = Partitioner(PARTITIONS)
    for topic in (VIEWS, PAYMENTS):
        await broker.create_topic(TopicSpec(name=topic, partitions=PARTITIONS))
    waiting: dict[TopicPartition, Outgoing] = {}
    for topic, user, text, time in events(count):
        key = user.encode()
        tp = TopicPartition(topic, partitioner.of(key))
        out = waiting.setdefault(tp, Outgoing())
        out.append(key, text, int(time * 1000))
        if len(out) >= _BATCH:
            await broker.produce({tp: waiting.pop(tp)})
    await broker.produce(waiting)
    await broker.close()
