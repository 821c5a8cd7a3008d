"""Topics by content and partitions by rule on a real broker: what a worker, an agent and `flows send` write."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec

import flows
from flows import col
from flows.brokers.base import Broker, TopicPartition
from flows.cli.outgoing import record_maker
from flows.compile.names import dead_letters
from flows.decode.codecs import Codecs
from flows.run.worker import Worker
from flows.settings import load_settings
from tests.contracts.broker_fixtures import read_all
from tests.kafka.cluster import Cluster, unique


class Item(flows.Record):
    kind: str
    n: int


def by_length(key: bytes | None, partitions: int) -> int:
    return len(key or b"") % partitions


async def found(broker: Broker, topic: flows.Topic) -> list[list[int]]:
    """Return the numbers in each partition."""
    partitions = [TopicPartition(topic.name, p) for p in range(topic.node.partitions)]
    return [
        sorted(msgspec.json.decode(v)["n"] for r in await read_all(broker, tp) for v in r.values) for tp in partitions
    ]


async def test_records_are_where_the_rules_say(kafka: Cluster, broker: Broker, tmp_path: Path) -> None:
    app = flows.App(unique("market"), partitions=3)
    items = app.topic(unique("items"), value=Item, key="kind", partitioner=by_length)
    short, long, odd, even = (app.topic(unique(name), value=Item) for name in ("short", "long", "odd", "even"))
    items.to(col("kind"), topics={"a": short, "bb": short, "ccc": long}, partition=col("n") % 4)

    def parity(item: Item) -> flows.Topic:
        return odd if item.n % 2 else even

    @app.agent(items, sink=[flows.router(parity, topics=[odd, even])])
    async def split(stream: Any) -> Any:
        async for item in stream:
            yield item

    maker = await record_maker(broker, app.plan(), Codecs(app.plan()), items.name, None, int(time.time() * 1000), None)
    for n in range(12):
        maker.add(msgspec.json.encode(Item(("a", "bb", "ccc", "dddd")[n % 4], n)))
    await broker.produce(maker.take()[0])
    assert await found(broker, items) == [[2, 6, 10], [0, 3, 4, 7, 8, 11], [1, 5, 9]]

    options = {"data": str(tmp_path), "broker": kafka.url, "web_port": "-1", "drain": True}
    await asyncio.wait_for(Worker(app, load_settings(app.id, options, environ={})).run(), 120)
    # n % 4 is 0 for "a", 1 for "bb", 2 for "ccc"; "dddd" has no topic.
    assert await found(broker, short) == [[0, 4, 8], [1, 5, 9], []]
    assert await found(broker, long) == [[], [], [2, 6, 10]]
    assert sorted(n for part in await found(broker, odd) for n in part) == [1, 3, 5, 7, 9, 11]
    assert sorted(n for part in await found(broker, even) for n in part) == [0, 2, 4, 6, 8, 10]
    refused = await read_all(broker, TopicPartition(dead_letters(app.id), 0))
    headers = [dict(h) for r in refused for h in r.headers or ()]
    assert {h["reason"] for h in headers} == {b"kind is 'dddd', for which no topic is declared: only 'a', 'bb', 'ccc'"}
    assert len(headers) == 3
