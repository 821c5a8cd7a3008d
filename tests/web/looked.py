"""A server that tells of topics of a broker, without a worker: what its tests put there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from aiohttp import ClientSession

import flows
from flows.brokers.base import Broker, Headers, Outgoing, Records, TopicPartition
from flows.clock import SystemClock
from flows.compile.names import dead_letters, topic_specs
from flows.decode.opened import open_codecs
from flows.emit.dead_letters import DeadLetterBox
from flows.run.app_topics import AppTopics
from flows.web import WebServer
from tests.web.airport import Site


class Looked:
    """The topics of an app, and a client of the server that tells of them."""

    def __init__(self, broker: Broker, app: flows.App, **options: Any) -> None:
        self.broker, self.plan = broker, app.plan()
        codecs = open_codecs(self.plan, url=None)
        self.topics = AppTopics(self.plan, broker, codecs, SystemClock())
        self.server: WebServer = Site().server(plan=self.plan, topics=self.topics, **options)

    async def __aenter__(self) -> Looked:
        for spec in topic_specs(self.plan):
            await self.broker.create_topic(spec)
        self.address = await self.server.start()
        self.client = ClientSession(self.address)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        await self.server.stop()

    async def put(
        self, topic: str, partition: int, *records: tuple[Any, Any, float] | tuple[Any, Any, float, Headers]
    ) -> None:
        """Append records: key, value (bytes, or what JSON is made of), seconds, and headers where there are some."""
        out = Outgoing()
        for key, value, seconds, *headers in records:
            data = value if value is None or isinstance(value, bytes) else msgspec.json.encode(value)
            out.append(None if key is None else key.encode(), data, round(seconds * 1000), *headers)
        await self.broker.produce({TopicPartition(topic, partition): out})

    async def refuse(self, records: Records, rows: Iterable[int], step: str, reason: str) -> None:
        """Dead-letter records as a task does."""
        out = _Outputs()
        box = DeadLetterBox(dead_letters(self.plan.app), out, lambda: 1_700_000_000_000, lambda *_: None)
        for row in rows:
            box.refuse(step, records, row, reason)
        await self.broker.produce({TopicPartition(dead_letters(self.plan.app), 0): out.outgoing})

    async def get(self, path: str, status: int = 200, **query: Any) -> Any:
        async with self.client.get(path, params={k: str(v) for k, v in query.items()}) as response:
            assert response.status == status, await response.text()
            return await response.json()

    async def post(self, path: str, body: Any, status: int = 200, **headers: str) -> Any:
        data = msgspec.json.encode(body)
        told = {"Content-Type": "application/json", **headers}
        async with self.client.post(path, data=data, headers=told) as response:
            assert response.status == status, await response.text()
            return await response.json()


class _Outputs:
    """Takes what a box writes."""

    def __init__(self) -> None:
        self.outgoing = Outgoing()

    def append(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, timestamp: int, headers: Headers = ()
    ) -> None:
        self.outgoing.append(key, value, timestamp, headers)


def as_records(topic: str, partition: int, values: list[bytes], headers: Headers = (), first: int = 0) -> Records:
    """Records as a reader would have read them."""
    count = len(values)
    return Records(
        tp=TopicPartition(topic, partition),
        offsets=list(range(first, first + count)),
        timestamps=[1_600_000_000_000 + n for n in range(count)],
        keys=[b"key-%d" % n for n in range(count)],
        values=values,
        headers=[headers] * count,
        next_offset=first + count,
    )
