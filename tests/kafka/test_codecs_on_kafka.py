"""Avro and Protobuf on a real broker with a registry by HTTP: records of two schemas in, of one out, bad ones told."""

from __future__ import annotations

import asyncio
import io
import time
from pathlib import Path
from typing import Any

import fastavro

import flows
from flows.brokers.base import Broker, Outgoing, TopicPartition
from flows.compile.names import dead_letters, topic_specs
from flows.run.worker import Worker
from flows.settings import load_settings
from tests.codecs.messages import Ping
from tests.codecs.registry_server import RegistryServer
from tests.contracts.broker_fixtures import read_all
from tests.kafka.cluster import Cluster, unique


class Order(flows.Record):
    id: str
    amount: float
    note: str | None = None


OLD = {
    "type": "record",
    "name": "Order",
    "namespace": "com.acme",
    "fields": [{"name": "id", "type": "string"}, {"name": "amount", "type": "int"}],
}


def avro(id: int, schema: Any, value: Any) -> bytes:
    """Write a value as another program would: with fastavro alone."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return id.to_bytes(5, "big") + out.getvalue()


async def test_records_of_two_schemas_in_and_of_one_out(kafka: Cluster, broker: Broker, tmp_path: Path) -> None:
    app = flows.App(unique("shop"))
    orders = app.topic(unique("orders"), value=Order, key="id", codec="avro")
    large = app.topic(unique("large"), value=Order, key="id", codec="avro")
    pings = app.topic(unique("pings"), codec=flows.Protobuf(Ping))
    orders.filter(flows.col("amount") > 10).to(large)

    @app.agent(orders, sink=[pings])
    async def ping(stream: Any) -> Any:
        async for order in stream:
            yield Ping(n=int(order.amount))

    for spec in topic_specs(app.plan()):
        await broker.create_topic(spec)
    async with RegistryServer().serving() as server:
        old = server.add(f"{orders.name}-value", OLD)
        new_schema = {**OLD, "fields": [*OLD["fields"], {"name": "note", "type": "string"}]}
        new = server.add(f"{orders.name}-value", new_schema)
        bad = b"\0\0\0\0\x63xyz"
        values = [
            avro(old, OLD, {"id": "a", "amount": 20}),
            bad,
            avro(new, new_schema, {"id": "a", "amount": 30, "note": "n"}),
            avro(old, OLD, {"id": "a", "amount": 5}),
        ]
        out = Outgoing([b"a"] * len(values), values, [int(time.time() * 1000)] * len(values))
        await broker.produce({TopicPartition(orders.name, 0): out})
        options = {"data": str(tmp_path), "broker": kafka.url, "web_port": "-1", "drain": True}
        settings = load_settings(app.id, {**options, "schema_registry_url": server.url}, environ={})
        await asyncio.wait_for(Worker(app, settings).run(), 120)

        (own,) = server.subjects[f"{large.name}-value"]
        schema = server.schema(f"{large.name}-value")
        assert await _values(broker, large.name) == [
            avro(own, schema, {"id": "a", "amount": 20.0, "note": None}),
            avro(own, schema, {"id": "a", "amount": 30.0, "note": "n"}),
        ]
        (own,) = server.subjects[f"{pings.name}-value"]
        wanted = [own.to_bytes(5, "big") + b"\0" + Ping(n=n).SerializeToString() for n in (20, 30, 5)]
        assert await _values(broker, pings.name) == wanted
        assert await _values(broker, dead_letters(app.id)) == [bad]


async def _values(broker: Broker, topic: str) -> list[bytes | None]:
    return [value for records in await read_all(broker, TopicPartition(topic, 0)) for value in records.values]
