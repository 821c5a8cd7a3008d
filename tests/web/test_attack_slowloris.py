"""Clients that hold connections: heads and bodies a byte at a time, answers that nobody takes: none for long."""

from __future__ import annotations

import asyncio

import pytest

from flows.brokers.base import Broker, Outgoing, TopicPartition
from tests.web.fortress import fortress, paths
from tests.web.rawly import Raw, head
from tests.web.test_gateway_slow import drip

QUICK = {"idle_seconds": 0.3, "body_seconds": 0.3}
POSTS = [path for _, path in paths("post") if path.startswith("/api/")]


@pytest.mark.parametrize(
    "data", [b"", b"GET /api/tables HTTP/1.1\r\nX-A: " + b"a" * 5000, b"G"], ids=["mute", "slow", "begun"]
)
async def test_a_head_that_does_not_come_whole_ends_the_connection(broker: Broker, data: bytes) -> None:
    async with fortress(broker, **QUICK) as place, Raw(place.port) as raw:
        assert await drip(raw, data) == b""


async def test_a_kept_connection_without_a_next_request_is_closed(broker: Broker) -> None:
    async with fortress(broker, **QUICK) as place, Raw(place.port) as raw:
        await raw.send(head("/health/live", method="GET"))
        assert await raw.answer() == 200
        await raw.until_closed()


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("lines", [("Content-Length: 5000",), ("Transfer-Encoding: chunked",)])
async def test_a_body_that_does_not_come_is_408(broker: Broker, path: str, lines: tuple[str, ...]) -> None:
    async with fortress(broker, **QUICK) as place, Raw(place.port) as raw:
        await raw.send(head(path, *lines))
        for _ in range(3):
            await raw.send(b"1\r\n{\r\n" if "chunked" in lines[0] else b"{")
        assert await raw.answer() == 408


async def test_many_slow_ones_keep_nobody_else_out(broker: Broker) -> None:
    async with fortress(broker, **QUICK) as place:
        slow = [Raw(place.port) for _ in range(100)]
        for raw in slow:
            await raw.__aenter__()
            await raw.send(b"GET /api/tables HTTP/1.1\r\nX-A: ")
        async with asyncio.timeout(10), place.client.get("/api/tables") as response:
            assert response.status == 200
        for raw in slow:
            assert await raw.until_closed() == b""
            await raw.__aexit__(None, None, None)


async def test_a_stream_that_nobody_reads_gives_its_place_back(broker: Broker) -> None:
    async with fortress(broker, streams=1, patience=0.2, pace=0.0) as place:
        raw = Raw(place.port)
        async with raw:
            await raw.send(head("/api/topics/gates-lines/changes?from=oldest", method="GET"))
            assert await raw.answer() == 200
            wide = [b"x" * 5000] * 1000
            for _ in range(6):
                out = Outgoing([None] * len(wide), list(wide), [0] * len(wide))
                await broker.produce({TopicPartition("gates-lines", 0): out})
            async with asyncio.timeout(20):
                while True:
                    async with place.client.get("/api/topics/gates-lines/changes") as response:
                        if response.status == 200:
                            break
                    await asyncio.sleep(0.02)
