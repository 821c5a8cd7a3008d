"""Bodies that are too large, of too many events, or no JSON at all: refused, whatever way they come."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from flows.brokers.base import Broker
from tests.web.gates import Gate, ride, rides_app
from tests.web.rawly import Raw, head

MOST = 16 * 1024


@pytest.fixture
async def gate(broker: Broker) -> AsyncIterator[Gate]:
    async with Gate(broker, rides_app(), body=MOST, rows=50) as gate:
        yield gate


async def test_a_length_past_the_limit_is_refused_before_it_comes(gate: Gate) -> None:
    async with Raw(gate.port) as raw:
        await raw.send(head("/topics/gates-notes", f"Content-Length: {10**15}"))
        assert await raw.answer() == 413


async def test_a_body_without_a_length_is_refused_when_it_is_too_long(gate: Gate) -> None:
    async with Raw(gate.port) as raw:
        await raw.send(head("/topics/gates-notes", "Transfer-Encoding: chunked"))
        await raw.send(b"1000\r\n" + b" " * 0x1000 + b"\r\n")
        for _ in range(4):
            await raw.send(b"1000\r\n" + b" " * 0x1000 + b"\r\n")
        assert await raw.answer() == 413
    assert gate.gateway.budget.used == 0


@pytest.mark.parametrize("kind", ["json", "lines"])
async def test_too_many_events_are_refused(gate: Gate, kind: str) -> None:
    body = b"[" + b",".join([b"{}"] * 51) + b"]" if kind == "json" else b"{}\n" * 51
    assert (await gate.post(body, "notes", kind=kind))[0] == 413
    assert (await gate.post(b"\n" * MOST, "notes", kind="lines"))[0] == 413
    assert await gate.written("notes") == []


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"{", b"[", b"[{}", b"[{},]", b"{}{}", b"nul", b"NaN", b"\xff\xfe", b"\x00", b"[" + b"5" * 9999),
        *(b'{"a":"\xff"}', b'{"a":1e999999}', b'{"a":"\\ud800"}', b'[{"a":}]', b'{"a":Infinity}'),
    ],
)
async def test_what_is_no_json_is_refused(gate: Gate, body: bytes) -> None:
    status, answer = await gate.post(body, "notes")
    assert status in (400, 422), answer
    assert await gate.written("notes") == []


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"city": "a"},
        {**ride(1), "city": None},
        {**ride(1), "at": "1"},
        {**ride(1), "at": True},
        [],
        "text",
        5,
        None,
    ],
)
async def test_what_is_no_ride_is_refused(gate: Gate, event: object) -> None:
    assert (await gate.post([event]))[0] == 422
    assert await gate.written() == []


async def test_fields_that_nobody_declared_are_not_written(gate: Gate) -> None:
    assert (await gate.post({**ride(1), "__class__": "os.system", "city": "x"}))[0] == 200
    (records,) = await gate.written()
    assert b"__class__" not in (records.values[0] or b"")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/json",
        "application/xml",
    ],
)
async def test_what_a_form_can_send_is_refused(gate: Gate, content_type: str) -> None:
    assert (await gate.post(b'{"a": 1}', "notes", kind=content_type))[0] == 415
    assert await gate.written("notes") == []


async def test_a_content_type_must_be_told(gate: Gate) -> None:
    async with Raw(gate.port) as raw:
        await raw.send(b"POST /topics/gates-notes HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{}")
        assert await raw.answer() == 415


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 2", "Transfer-Encoding: chunked"),
        ("Content-Length: 2", "Content-Length: 3"),
        ("Content-Length: -1",),
        ("Content-Length: +2",),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding: xchunked",),
    ],
)
async def test_a_body_whose_length_is_told_in_two_ways_is_refused(gate: Gate, lines: tuple[str, ...]) -> None:
    """Else a proxy in front could see another request here than the gateway does."""
    async with Raw(gate.port) as raw:
        await raw.send(head("/topics/gates-notes", *lines) + b"{}")
        assert (await raw.until_closed()).split(b" ")[1] == b"400"
    assert await gate.written("notes") == []
