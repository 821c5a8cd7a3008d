"""Gateways that a test opens on a broker: their server, a client of it, and what they wrote."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from aiohttp import ClientSession, ClientWebSocketResponse

import flows
from flows.brokers.base import Broker, Records, TopicPartition
from flows.clock import Clock, SystemClock
from flows.compile.incoming import event_maker
from flows.compile.names import topic_specs
from flows.decode.opened import open_codecs
from flows.run.gateway import Ingested, ingested_topics
from flows.web.gateway import Gateway, GatewayLimits, GatewayServer

DEADLINE = 30.0


class Ride(flows.Record):
    city: str
    fare: float | None
    at: float


def rides_app(name: str = "gates") -> flows.App:
    """An app with a topic of Records, which it reads, one of anything, one of bytes, and one that it writes to."""
    app = flows.App(name)
    rides = app.topic(f"{name}-rides", value=Ride, key="city", timestamp="at", partitions=3)
    app.topic(f"{name}-notes", value=dict, partitions=2)
    app.topic(f"{name}-lines", value=bytes, codec="raw")
    rides.filter(flows.col("fare") > 10.0).to(app.topic(f"{name}-dear", value=dict))
    rides.group_by("city").agg(rides=flows.count()).table("by_city")
    return app


def ride(number: int, **more: Any) -> dict[str, Any]:
    """A ride that is told from others by its fare."""
    return {"city": f"city-{number % 7}", "fare": float(number), "at": 1_700_000_000.0 + number, **more}


class Gate:
    """A gateway with a server of its own, on a broker that stays open after it."""

    def __init__(
        self,
        broker: Broker,
        app: flows.App,
        *,
        clock: Clock | None = None,
        token: str | None = None,
        topics: str | None = None,
        **limits: Any,
    ) -> None:
        self.broker, self.plan, self._token = broker, app.plan(), token
        codecs = open_codecs(self.plan, url=None)
        size = broker.max_record_bytes
        made = {
            t.name: Ingested(event_maker(self.plan, codecs, t.name, t.partitions, max_bytes=size), codecs)
            for t in ingested_topics(self.plan, topics)
        }
        self.gateway = Gateway(self.plan.app, made, broker, clock or SystemClock(), GatewayLimits(**limits))
        self._server = GatewayServer(self.gateway, port=0, token=token)

    async def __aenter__(self) -> Gate:
        for spec in topic_specs(self.plan):
            await self.broker.create_topic(spec)
        self.address = await self._server.start()
        self.client = ClientSession(self.address)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        await self._server.stop()

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def topic(self, name: str = "rides") -> str:
        return f"{self.plan.app}-{name}"

    async def post(
        self, value: Any, topic: str = "rides", *, kind: str = "json", query: str = "", **headers: str
    ) -> tuple[int, Any]:
        """Post a body; return the status and the answer."""
        data = value if isinstance(value, bytes) else msgspec.json.encode(value)
        types = {"json": "application/json", "lines": "application/x-ndjson", "bytes": "application/octet-stream"}
        told = {"Content-Type": types.get(kind, kind), **{k.replace("_", "-"): v for k, v in headers.items()}}
        if self._token is not None:
            told.setdefault("Authorization", f"Bearer {self._token}")
        path = f"/topics/{self.topic(topic)}{query}"
        async with self.client.post(path, data=io.BytesIO(data), headers=told) as response:
            return response.status, msgspec.json.decode(await response.read())

    async def connect(self, client: str | None = None, topic: str = "rides", **options: Any) -> Socket:
        """Open a WebSocket; of a named client the last sequence is read."""
        query = "" if client is None else f"?client={client}"
        socket = Socket(await self.client.ws_connect(f"/topics/{self.topic(topic)}{query}", **options))
        if client is not None:
            socket.last = (await socket.read())["last"]
        return socket

    async def written(self, topic: str = "rides") -> list[Records]:
        """Return all that is in a topic."""
        return await read_topic(self.broker, self.topic(topic))

    async def fares(self) -> list[float]:
        """Return the fares of all rides that are there, in ascending order."""
        return sorted(msgspec.json.decode(v)["fare"] for v in values(await self.written()))


class Socket:
    """A client's end of a WebSocket."""

    def __init__(self, ws: ClientWebSocketResponse) -> None:
        self.ws = ws
        self.last: int | None = None

    async def send(self, seq: int, value: Any = None, **more: Any) -> None:
        message = {"seq": seq, **({} if value is None else {"value": value}), **more}
        await self.ws.send_str(msgspec.json.encode(message).decode())

    async def read(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.ws.receive_json(timeout=DEADLINE)
        return found

    async def acked(self, seq: int) -> None:
        """Read acknowledgements up to this one."""
        while (await self.read())["ack"] != seq:
            pass

    async def close_code(self) -> int | None:
        """Read to the end; return the code that the gateway closed with."""
        async with asyncio.timeout(DEADLINE):
            async for _ in self.ws:
                pass
        return self.ws.close_code


async def read_topic(broker: Broker, topic: str) -> list[Records]:
    """Read all partitions of a topic to their ends."""
    spec = (await broker.topics())[topic]
    tps = [TopicPartition(topic, p) for p in range(spec.partitions)]
    starts, ends = await broker.start_offsets(tps), await broker.end_offsets(tps)
    reader = broker.reader(starts)
    found: list[Records] = []
    while any(reader.position(tp) < ends[tp] for tp in tps):
        found += await reader.fetch(10_000, 1.0)
    await reader.close()
    return found


def values(found: Iterable[Records]) -> list[bytes]:
    return [value for records in found for value in records.values if value is not None]


async def until(ask: Callable[[], bool], what: str) -> None:
    """Wait for a condition of this process."""
    async with asyncio.timeout(DEADLINE):
        while not ask():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.002)
    assert ask(), what
