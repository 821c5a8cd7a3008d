"""JSON that nests without end: no walk down into it, whichever way it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from flows.brokers.base import Broker
from tests.web.gates import Gate, rides_app, values


@pytest.fixture
async def gate(broker: Broker) -> AsyncIterator[Gate]:
    async with Gate(broker, rides_app(), depth=64) as gate:
        yield gate


def nested(depth: int, opening: bytes = b'{"a":', closing: bytes = b"}") -> bytes:
    return opening * depth + b"1" + closing * depth


@pytest.mark.parametrize("depth", [65, 1000, 100_000])
@pytest.mark.parametrize("kind", ["json", "lines"])
async def test_what_nests_too_deep_is_refused(gate: Gate, kind: str, depth: int) -> None:
    assert (await gate.post(nested(depth), "notes", kind=kind))[0] == 422
    body = b'{"a":' + nested(depth, b"[", b"]") + b"}"
    assert (await gate.post(body, "notes", kind=kind))[0] == 422
    assert await gate.written("notes") == []


@pytest.mark.parametrize("depth", [66, 1000, 100_000])
async def test_an_array_that_nests_too_deep_is_refused(gate: Gate, depth: int) -> None:
    assert (await gate.post(nested(depth, b"[", b"]"), "notes"))[0] in (400, 422)
    assert (await gate.post(b"[" * depth, "notes"))[0] in (400, 422)
    assert await gate.written("notes") == []


async def test_what_nests_as_deep_as_it_may_is_taken(gate: Gate) -> None:
    assert (await gate.post(nested(64), "notes"))[0] == 200
    wide = msgspec.json.encode({"a": [[n] for n in range(1000)], "b": "[{" * 1000, "c": '"[' * 50 + "\\"})
    assert (await gate.post(wide, "notes"))[0] == 200
    assert set(values(await gate.written("notes"))) == {nested(64), wide}


@pytest.mark.parametrize("depth", [65, 900, 100_000])
async def test_a_message_that_nests_too_deep_is_refused(gate: Gate, depth: int) -> None:
    socket = await gate.connect(topic="notes")
    await socket.ws.send_str('{"seq":1,"value":' + nested(depth).decode() + "}")
    assert "error" in await socket.read()
    await socket.ws.close()
    assert await gate.written("notes") == []
