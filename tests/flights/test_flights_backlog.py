"""A backlog drained through a repartition keeps what an orderly replay would keep (CORRECTNESS 1).

The whole year lies in the topic; three origins in three tasks drain at their own pace into one partition of carriers:
by the largest event time seen there, two thirds of the flights would be late.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

import flows
from flows import col, count, mean, tumbling
from flows.brokers.base import Outgoing, TopicPartition, TopicSpec
from flows.brokers.registry import open_broker
from flows.cli.readers import offline_tables
from flows.cli.subject import Subject
from flows.route.partitioner import Partitioner
from flows.run.worker import Worker
from flows.settings import load_settings
from tests.flights import expected


class Flight(flows.Record):
    carrier: str
    origin: str
    delay: float | None
    at: float | None


def backlog_app() -> flows.App:
    """Return the first table of the example, without its replay."""
    app = flows.App("backlog")
    departures = app.topic("departures", value=Flight, key="origin", timestamp="at", partitions=4)
    left = departures.filter(col("delay").is_not_null()).group_by("carrier", partitions=1)
    left.window(tumbling("1h", grace="24h")).agg(flights=count(), mean_delay=mean("delay")).table("delays_by_carrier")
    return app


async def fill(folder: Path) -> None:
    """Write the year, in order of scheduled departure."""
    broker = open_broker(f"embedded://{folder}")
    await broker.start()
    await broker.create_topic(TopicSpec(name="departures", partitions=4))
    partition = Partitioner(4).of
    waiting: dict[int, Outgoing] = {}
    rows = expected.departures().select("carrier", "origin", "dep_delay", "at").iter_rows()
    for carrier, origin, delay, at in rows:
        key = origin.encode()
        value = msgspec.json.encode({"carrier": carrier, "origin": origin, "delay": delay, "at": at})
        waiting.setdefault(partition(key), Outgoing()).append(key, value, 0)
    for number, out in waiting.items():
        for start in range(0, len(out), 5_000):
            part = slice(start, start + 5_000)
            batch = Outgoing(out.keys[part], out.values[part], out.timestamps[part])
            await broker.produce({TopicPartition("departures", number): batch})
    await broker.close()


async def test_a_backlog_of_the_year_loses_nothing_to_lateness(tmp_path: Path) -> None:
    await fill(tmp_path / "broker")
    app = backlog_app()
    worker = Worker(app, load_settings(app.id, {"data": str(tmp_path), "web_port": "-1", "drain": True}))
    await worker.run()
    assert worker.metrics.late.total() == 0
    wanted = expected.delays_by_carrier(expected.departures())
    found = {(r["carrier"], r["window_start"]): r["flights"] for r in await rows_of(tmp_path)}
    assert found == {key: flights for key, (flights, _, _) in wanted.items()}


async def rows_of(data: Path) -> list[dict[str, object]]:
    """Read the table as `flows query` does where no worker runs."""
    app = backlog_app()
    settings = load_settings(app.id, {"data": str(data)})
    broker = open_broker(settings.broker_url)
    await broker.start()
    try:
        tables = offline_tables(Subject(app.plan(), settings, app), broker, with_stores=True)
        return await tables.rows("delays_by_carrier", limit=1_000_000)
    finally:
        await broker.close()
