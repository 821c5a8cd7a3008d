"""Global tables on a real broker: read whole by each worker, followed, and begun again on a new disk."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec

import flows
from flows.brokers.base import Broker, Outgoing, TopicPartition
from flows.decode.message_keys import encode_message_key
from flows.route.partitioner import Partitioner
from flows.run.worker import Worker
from flows.settings import load_settings
from tests.contracts.broker_fixtures import read_all
from tests.kafka.cluster import Cluster, unique


class Rate(flows.Record):
    currency: str
    euros: float


class Order(flows.Record):
    user: str
    paid_in: str


async def send(broker: Broker, topic: flows.Topic, key: str, value: Any) -> None:
    encoded = encode_message_key(key) or b""
    out = Outgoing()
    out.append(encoded, None if value is None else msgspec.json.encode(value), int(time.time() * 1000))
    await broker.produce({TopicPartition(topic.name, Partitioner(topic.node.partitions).of(encoded)): out})


async def test_a_worker_reads_all_partitions_before_its_tasks_and_on(
    kafka: Cluster, broker: Broker, tmp_path: Path
) -> None:
    app = flows.App(unique("shop"), partitions=2)
    changes = app.topic(unique("rates"), value=Rate, key="currency", partitions=3)
    orders = app.topic(unique("orders"), value=Order, key="user")
    priced = app.topic(unique("priced"), value=dict, partitions=1)
    rates = app.global_table("rates", changes)
    orders.join(rates, on="paid_in", how="left").to(priced)

    async def run(folder: str) -> list[float | None]:
        options = {"data": str(tmp_path / folder), "broker": kafka.url, "web_port": "-1", "drain": True}
        await asyncio.wait_for(Worker(app, load_settings(app.id, options, environ={})).run(), 120)
        found = await read_all(broker, TopicPartition(priced.name, 0))
        return [msgspec.json.decode(v)["euros"] for r in found for v in r.values if v is not None]

    assert await run("one") == []
    assert (await broker.topics())[changes.name].cleanup == "compact"
    for n, currency in enumerate(("USD", "NOK", "GBP", "SEK")):
        await send(broker, changes, currency, Rate(currency, n + 1.0))
        await send(broker, orders, f"u{n}", Order(f"u{n}", currency))
    assert sorted(await run("one"), key=str) == [1.0, 2.0, 3.0, 4.0]
    await send(broker, changes, "NOK", None)
    await send(broker, changes, "USD", Rate("USD", 7.0))
    await send(broker, orders, "u9", Order("u9", "USD"))
    await send(broker, orders, "u8", Order("u8", "NOK"))
    assert sorted((await run("two"))[4:], key=str) == [7.0, None]
