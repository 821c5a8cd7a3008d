"""Clients that hold connections: a head or a body a byte at a time, nothing at all, answers that are not taken."""

from __future__ import annotations

import asyncio

import pytest

from flows.brokers.base import Broker
from tests.web.gates import Gate, rides_app, until
from tests.web.rawly import Raw, head


async def drip(raw: Raw, data: bytes) -> bytes:
    """Send a byte now and then, until the other side hangs up; return what it said."""

    async def send() -> None:
        for byte in data:
            await raw.send(bytes([byte]))
            await asyncio.sleep(0.02)  # the attack itself

    sending = asyncio.create_task(send())
    try:
        return await raw.until_closed()
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


@pytest.fixture
async def hasty(broker: Broker) -> Gate:
    return Gate(broker, rides_app(), idle_seconds=0.3, body_seconds=0.3)


@pytest.mark.parametrize(
    "data", [b"", b"POST /topics/gates-notes HTTP/1.1\r\nX-A: " + b"a" * 5000], ids=["mute", "slow"]
)
async def test_a_head_that_does_not_come_whole_ends_the_connection(hasty: Gate, data: bytes) -> None:
    async with hasty as gate, Raw(gate.port) as raw:
        assert await drip(raw, data) == b""


async def test_a_kept_connection_without_a_next_request_is_closed(hasty: Gate) -> None:
    async with hasty as gate, Raw(gate.port) as raw:
        await raw.send(head("/topics/gates-notes", "Content-Length: 2") + b"{}")
        assert await raw.answer() == 200
        await raw.until_closed()


@pytest.mark.parametrize("lines", [("Content-Length: 5000",), ("Transfer-Encoding: chunked",)])
async def test_a_body_that_does_not_come_is_408(hasty: Gate, lines: tuple[str, ...]) -> None:
    async with hasty as gate, Raw(gate.port) as raw:
        await raw.send(head("/topics/gates-notes", *lines))
        answer = await drip(raw, b"1\r\n{\r\n" * 500 if "chunked" in lines[0] else b"{" * 5000)
        # Who goes on sending into a closed connection is reset, and may never read the answer (RFC 9112, 9.6).
        assert answer.startswith(b"HTTP/1.1 408 ") or answer == b""
        assert gate.gateway.budget.used == 0
        assert await gate.written("notes") == []


async def test_many_slow_ones_keep_nobody_else_out(hasty: Gate) -> None:
    async def hold(port: int) -> None:
        async with Raw(port) as raw:
            await raw.send(b"POST /topics/gates-notes HTTP/1.1\r\n")
            await raw.until_closed()

    async with hasty as gate, asyncio.TaskGroup() as group:
        for _ in range(200):
            group.create_task(hold(gate.port))
        assert (await gate.post({"a": 1}, "notes"))[0] == 200


async def test_a_client_that_goes_away_in_the_middle_leaves_nothing(broker: Broker) -> None:
    async with Gate(broker, rides_app()) as gate:
        async with Raw(gate.port) as raw:
            await raw.send(head("/topics/gates-notes", "Content-Length: 100") + b'{"a":')
            await until(lambda: gate.gateway.budget.used > 0, "the body's beginning")
        await until(lambda: gate.gateway.budget.used == 0, "its bytes to be given back")
        assert await gate.written("notes") == []


async def test_a_websocket_that_takes_no_answers_is_cut_off(broker: Broker) -> None:
    async with Gate(broker, rides_app(), patience=0.3) as gate:
        upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
        async with Raw(gate.port) as raw:
            path = "/topics/gates-rides"
            await raw.send(head(path, *upgrade, "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==", method="GET"))
            assert await raw.answer() == 101
            # Each of these has a long answer, of which nothing is read.
            message = b'{"seq":%d,"values":[' + b",".join([b'{"city":1}'] * 100) + b"]}"
            cut = asyncio.create_task(until(lambda: not gate.gateway.sockets, "the socket to be cut off"))
            seq = 0
            while not cut.done():
                seq += 1
                try:
                    await asyncio.wait_for(raw.send(framed(message % seq)), 0.05)
                except (TimeoutError, ConnectionError):
                    break
            await cut
        assert gate.gateway.budget.used == 0


def framed(text: bytes) -> bytes:
    """Return a text as a client's frame, masked by zeros."""
    return b"\x81" + bytes([0x80 | 126]) + len(text).to_bytes(2, "big") + bytes(4) + text
