"""The API's topics and dead letters on a real Kafka: offsets with gaps, transactions, and two that drive at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

import flows
from flows.brokers.base import Broker, TopicPartition
from flows.brokers.registry import open_broker
from flows.errors import FlowsError
from tests.kafka.cluster import Cluster
from tests.web.events import Events
from tests.web.gates import read_topic
from tests.web.looked import Looked, as_records


def shop(name: str) -> flows.App:
    app = flows.App(name)
    orders = app.topic(f"{name}-orders", value=dict, partitions=2, retention=None)

    @app.agent(orders)
    async def read(stream: AsyncIterator[Any]) -> None:
        async for _ in stream:
            pass

    return app


@pytest.fixture
async def brokers(kafka: Cluster) -> AsyncIterator[list[Broker]]:
    found = [open_broker(kafka.url) for _ in range(2)]
    for broker in found:
        await broker.start()
    yield found
    for broker in found:
        await broker.close()


async def test_records_are_read_found_by_time_and_followed(brokers: list[Broker]) -> None:
    app = shop(f"shop-{uuid4().hex[:8]}")
    topic, now = f"{app.id}-orders", round(time.time())
    async with Looked(brokers[0], app) as looked:
        # The end of each transaction takes an offset: there are as many gaps as records.
        for n in range(10):
            await looked.put(topic, n % 2, (f"k{n}", {"n": n}, now + n))
        path = f"/api/topics/{topic}/records"
        found = await looked.get(path, limit=4)
        assert [r["value"]["n"] for r in found["records"]] == [6, 7, 8, 9]
        every = await looked.get(path, **{"from": "oldest"})
        assert [r["value"]["n"] for r in every["records"]] == list(range(10))
        assert every["ended"] is True
        later = await looked.get(path, **{"from": now + 7})
        assert [r["value"]["n"] for r in later["records"]] == [7, 8, 9]
        place = every["records"][3]
        whole = await looked.get(f"{path}/{place['partition']}/{place['offset']}")
        assert whole["value"] == {"n": 3}
        async with looked.client.get(
            f"/api/topics/{topic}/changes", headers={"Last-Event-ID": every["next"]}
        ) as stream:
            events = Events(stream)
            await events.named("ready")
            await looked.put(topic, 1, ("k", {"n": 10}, now + 10))
            assert [r["value"]["n"] for r in await events.named("records")] == [10]


async def test_two_that_drive_at_once_send_each_letter_once(brokers: list[Broker]) -> None:
    app = shop(f"till-{uuid4().hex[:8]}")
    topic = f"{app.id}-orders"
    one, other = (Looked(broker, app) for broker in brokers)
    async with one, other:
        values = [b'{"n":%d}' % n for n in range(40)]
        await one.refuse(as_records(topic, 1, values), range(40), "read", "ValueError: no")
        found = await one.get("/api/dead-letters")
        assert found["total"] >= 40
        offsets = [letter["offset"] for letter in found["letters"]]
        assert len(offsets) == 40
        asked = [looked.topics.redrive(offsets) for looked in (one, other, one, other)]
        for result in await asyncio.gather(*asked, return_exceptions=True):
            assert not isinstance(result, BaseException) or isinstance(result, FlowsError)
        await other.topics.redrive(offsets)
        there = [v for records in await read_topic(brokers[0], topic) for v in records.values]
        assert sorted(v for v in there if v is not None) == sorted(values)
        letters = (await one.get("/api/dead-letters"))["letters"]
        assert all(letter["redriven"] for letter in letters)
        (records,) = await read_topic(brokers[0], topic)
        assert records.tp == TopicPartition(topic, 1)
