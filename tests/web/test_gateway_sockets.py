"""WebSockets at `/topics/NAME`: acknowledgements by sequence, what is refused, and clients that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from flows.brokers.base import Broker
from tests.web.gates import Gate, ride, rides_app, until, values


@pytest.fixture
async def gate(broker: Broker) -> AsyncIterator[Gate]:
    async with Gate(broker, rides_app(), body=64 * 1024, unanswered=10, buffer=256 * 1024) as gate:
        yield gate


async def test_what_is_acknowledged_is_there(gate: Gate) -> None:
    socket = await gate.connect()
    for seq in range(200):
        await socket.send(seq * 10, ride(seq))
    await socket.acked(1990)
    assert await gate.fares() == [float(n) for n in range(200)]


async def test_a_message_of_many_is_whole_or_not_there(gate: Gate) -> None:
    socket = await gate.connect()
    await socket.send(1, values=[ride(1), {"city": 1}, ride(2)])
    told = await socket.read()
    assert (told["seq"], told["errors"][0]["line"]) == (1, 2)
    await socket.send(2, values=[ride(3), ride(4)])
    await socket.acked(2)
    assert await gate.fares() == [3.0, 4.0]


async def test_key_and_timestamp_of_a_message(gate: Gate) -> None:
    socket = await gate.connect(topic="notes")
    await socket.send(1, {"a": 1}, key="k", timestamp="2013-01-01T05:00:00Z")
    await socket.acked(1)
    (records,) = await gate.written("notes")
    assert (records.keys, records.timestamps) == ([b"k"], [1_357_016_400_000])


async def test_a_raw_topic_takes_text(gate: Gate) -> None:
    socket = await gate.connect(topic="lines")
    await socket.send(1, "a line")
    await socket.acked(1)
    await socket.send(2, {"no": "text"})
    assert "takes text" in (await socket.read())["error"]
    assert values(await gate.written("lines")) == [b"a line"]


async def test_of_a_named_client_nothing_behind_a_refused_message_is_written(gate: Gate) -> None:
    """It would be told that sequence as its last, and never learn that one before it is not there."""
    socket = await gate.connect("meter-1")
    await socket.send(1, ride(1))
    await socket.send(2, {"city": 1})
    await socket.send(3, ride(3))
    found = [await socket.read()]
    if "ack" in found[-1]:
        found.append(await socket.read())
    assert found[-1]["seq"] == 2
    assert await socket.close_code() == 4422
    assert await gate.fares() == [1.0]
    again = await gate.connect("meter-1")
    assert again.last == 1
    await again.send(2, ride(2))
    await again.acked(2)
    assert await gate.fares() == [1.0, 2.0]


@pytest.mark.parametrize(
    "message",
    [
        *("", "{", "[]", "5", '{"value": {}}', '{"seq": -1, "value": {}}', '{"seq": 1.5, "value": {}}', "[" * 5000),
        *('{"seq": 1, "value": {}, "valve": 1}', '{"seq": 99999999999999999999, "value": {}}', '{"seq": "1"}'),
    ],
)
async def test_what_is_no_message_ends_the_socket(gate: Gate, message: str) -> None:
    socket = await gate.connect(topic="notes")
    await socket.ws.send_str(message)
    assert (await socket.read())["seq"] is None
    assert await socket.close_code() == 4400
    assert await gate.written("notes") == []


async def test_sequences_must_grow(gate: Gate) -> None:
    socket = await gate.connect(topic="notes")
    await socket.send(5, {"a": 1})
    await socket.send(5, {"a": 2})
    assert await socket.close_code() == 4400
    assert len(values(await gate.written("notes"))) == 1


async def test_a_message_past_the_limit_ends_the_socket(gate: Gate) -> None:
    socket = await gate.connect(topic="notes")
    await socket.send(1, {"a": "x" * 70_000})
    assert await socket.close_code() == 1009
    assert await gate.written("notes") == []


async def test_binary_messages_are_json_too(gate: Gate) -> None:
    socket = await gate.connect(topic="notes")
    await socket.ws.send_bytes(b'{"seq": 1, "value": {"a": 1}}')
    await socket.acked(1)


@pytest.mark.parametrize("client", ["", "x" * 256, "%00", "%C3%A9", "a%0Ab"])
async def test_a_strange_client_name_is_refused(gate: Gate, client: str) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
    async with gate.client.get(f"/topics/gates-notes?client={client}", headers=headers) as response:
        assert response.status == 400


async def test_a_plain_get_is_told_to_upgrade(gate: Gate) -> None:
    async with gate.client.get("/topics/gates-notes") as response:
        assert (response.status, response.headers["Upgrade"]) == (426, "websocket")


async def test_an_unknown_topic_is_refused_before_the_upgrade(gate: Gate) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
    async with gate.client.get("/topics/nope", headers=headers) as response:
        assert response.status == 404


async def test_there_are_not_more_sockets_than_allowed(broker: Broker) -> None:
    async with Gate(broker, rides_app(), sockets=1) as gate:
        socket = await gate.connect()
        headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
        async with gate.client.get("/topics/gates-notes", headers=headers) as response:
            assert response.status == 503
        await socket.ws.close()
        await until(lambda: not gate.gateway.sockets, "the socket to be forgotten")
        await (await gate.connect()).ws.close()


async def test_a_full_buffer_slows_down_and_loses_nothing(gate: Gate) -> None:
    sockets = [await gate.connect(topic="notes") for _ in range(8)]
    pad = "x" * 40_000

    async def pour(number: int) -> None:
        for seq in range(10):
            await sockets[number].send(seq, {"n": number * 10 + seq, "pad": pad})
        await sockets[number].acked(9)

    await asyncio.gather(*map(pour, range(8)))
    found = sorted(msgspec.json.decode(value)["n"] for value in values(await gate.written("notes")))
    assert found == list(range(80))
    assert gate.gateway.budget.used == 0


async def test_all_is_given_back_when_clients_vanish(gate: Gate) -> None:
    for number in range(5):
        socket = await gate.connect(f"meter-{number}")
        await socket.send(1, ride(number))
        transport = socket.ws._response.connection
        assert transport is not None
        assert transport.transport is not None
        transport.transport.abort()
    await until(lambda: not gate.gateway.sockets and not gate.gateway.sessions, "the sockets to be forgotten")
    await until(lambda: gate.gateway.budget.used == 0, "their bytes to be given back")


async def test_stopping_tells_the_clients(broker: Broker) -> None:
    async with Gate(broker, rides_app()) as gate:
        socket = await gate.connect()
        closing = asyncio.create_task(socket.close_code())
        await gate._server.stop()
        assert await closing == 1001
