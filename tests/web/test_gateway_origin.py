"""Pages of other sites, in the browser of somebody who may write: they may not, by requests or by WebSockets."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from flows.brokers.base import Broker
from tests.web.gates import Gate, rides_app
from tests.web.rawly import Raw, head

UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
)
FOREIGN = [
    ("Origin: https://evil.example",),
    ("Origin: null",),
    ("Origin: http://127.0.0.1:1",),
    ("Origin: http://127.0.0.1.evil.example",),
    ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"),
    ("Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors"),
    ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"),
]


@pytest.fixture
async def gate(broker: Broker) -> AsyncIterator[Gate]:
    async with Gate(broker, rides_app()) as gate:
        yield gate


@pytest.mark.parametrize("lines", FOREIGN)
async def test_a_foreign_page_cannot_post(gate: Gate, lines: tuple[str, ...]) -> None:
    async with Raw(gate.port) as raw:
        await raw.send(head("/topics/gates-notes", "Content-Length: 2", *lines) + b"{}")
        assert await raw.answer() == 403
    assert await gate.written("notes") == []


@pytest.mark.parametrize("lines", FOREIGN[:-1])
async def test_a_foreign_page_cannot_open_a_socket(gate: Gate, lines: tuple[str, ...]) -> None:
    async with Raw(gate.port) as raw:
        await raw.send(head("/topics/gates-notes", *UPGRADE, *lines, method="GET"))
        assert await raw.answer() == 403
    assert not gate.gateway.sockets


async def test_nothing_allows_a_foreign_page_to_ask_before(gate: Gate) -> None:
    async with Raw(gate.port) as raw:
        asked = ("Origin: https://evil.example", "Access-Control-Request-Method: POST", "Connection: close")
        await raw.send(head("/topics/gates-notes", *asked, method="OPTIONS"))
        answer = await raw.until_closed()
    assert answer.split(b" ")[1] == b"403"
    assert b"access-control-allow" not in answer.lower()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.", ""])
async def test_a_name_that_was_bent_to_this_machine_is_refused(gate: Gate, host: str) -> None:
    """DNS rebinding: the page's own name leads here, so that its origin would be the same."""
    async with Raw(gate.port) as raw:
        request = f"POST /topics/gates-notes HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n"
        await raw.send(request.encode() + b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        assert await raw.answer() == 403
    assert await gate.written("notes") == []


async def test_a_page_of_the_same_origin_may(gate: Gate) -> None:
    async with Raw(gate.port) as raw:
        own = (f"Origin: http://127.0.0.1:{gate.port}", "Sec-Fetch-Site: same-origin")
        lines = head("/topics/gates-notes", "Content-Length: 2", *own).split(b"\r\n")
        lines[1] = f"Host: 127.0.0.1:{gate.port}".encode()
        await raw.send(b"\r\n".join(lines) + b"{}")
        assert await raw.answer() == 200
