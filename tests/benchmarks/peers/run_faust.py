"""W1 on Faust: `run_faust.py BOOTSTRAP TOPIC GROUP FOLDER`. RocksDB and a changelog, at least once."""

from __future__ import annotations

import sys
from typing import Any

import faust
from faust.transport.drivers import aiokafka as driver

bootstrap, topic, group, folder = sys.argv[1:5]
consumer = driver.aiokafka.AIOKafkaConsumer


def read_committed(*arguments: Any, **settings: Any) -> Any:
    """Make a consumer that waits for the transaction which the events come in; Faust does so with exactly_once only."""
    return consumer(*arguments, **settings | {"isolation_level": "read_committed"})


driver.aiokafka.AIOKafkaConsumer = read_committed

app = faust.App(
    group,
    broker=f"kafka://{bootstrap}",
    store="rocksdb://?driver=rocksdict",
    datadir=folder,
    topic_partitions=4,
    topic_replication_factor=1,
    web_enabled=False,
)


class PageView(faust.Record, serializer="json"):
    user: str
    page: str
    amount: float
    ts: float


views = app.topic(topic, key_type=str, key_serializer="raw", value_type=PageView)
totals = app.Table("totals", default=float, partitions=4).tumbling(10.0).relative_to_field(PageView.ts)


@app.agent(views)
async def add(stream: Any) -> None:
    async for view in stream:
        totals[view.user] += view.amount


if __name__ == "__main__":
    faust.Worker(app, loglevel="WARN").execute_from_commandline()
