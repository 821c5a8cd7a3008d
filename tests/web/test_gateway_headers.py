"""Headers: what is put into one never becomes a header, nor another request; and how long they may be."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest

from flows.brokers.base import Broker
from tests.web.gates import Gate, rides_app
from tests.web.rawly import Raw, head


@pytest.fixture
async def gate(broker: Broker) -> AsyncIterator[Gate]:
    async with Gate(broker, rides_app()) as gate:
        yield gate


@pytest.mark.parametrize(
    "path",
    [
        "/topics/a%0d%0aSet-Cookie:%20b=1",
        "/topics/gates-notes?on_error=%0d%0aSet-Cookie:%20b=1",
        "/topics/gates-notes?x%0d%0aSet-Cookie:%20b=1",
        "/topics/gates-notes?timestamp=%0d%0aSet-Cookie:%20b=1",
    ],
)
async def test_what_is_answered_to_strange_words_stays_in_the_body(gate: Gate, path: str) -> None:
    async with Raw(gate.port) as raw:
        await raw.send(head(path, "Content-Length: 2", "Connection: close") + b"{}")
        answer = await raw.until_closed()
    assert answer.split(b" ")[1] in (b"400", b"404")
    assert b"set-cookie" not in answer.split(b"\r\n\r\n")[0].lower()
    assert b"Content-Type: application/json" in answer


@pytest.mark.parametrize(
    "line",
    [
        "Flows-Key: a\rb",
        "Flows-Key: a\nSmuggled: yes",
        "Flows-Key: a\0b",
        "Flows-Key : a",
        "Fl\x00ows: a",
        " Flows-Key: folded",
        ": no name",
        "Idempotency-Key: a\x7fb",
    ],
)
async def test_a_header_with_control_characters_is_refused(gate: Gate, line: str) -> None:
    async with Raw(gate.port) as raw:
        await raw.send(head("/topics/gates-notes", "Content-Length: 2", "Connection: close", line) + b"{}")
        answer = await raw.until_closed()
    assert answer.split(b" ")[1] == b"400" or b"Smuggled" not in answer
    assert all(key is None or b"\n" not in key for records in await gate.written("notes") for key in records.keys)


@pytest.mark.parametrize(
    "lines",
    [[f"X-Long: {'x' * 100_000}"], [f"X-{n}: {'x' * 100}" for n in range(2000)], [f"{'x' * 100_000}: a"]],
    ids=["long", "many", "name"],
)
async def test_headers_past_all_measure_are_refused(gate: Gate, lines: list[str]) -> None:
    async with Raw(gate.port) as raw:
        await raw.send(head("/topics/gates-notes", *lines, "Content-Length: 2") + b"{}")
        assert (await raw.until_closed()).split(b" ")[1:2] in ([b"400"], [])
    assert await gate.written("notes") == []


async def test_a_key_may_be_any_text(gate: Gate) -> None:
    """It is the message key as it is; nothing reads it."""
    async with Raw(gate.port) as raw:
        line = "Flows-Key: ä; DROP TABLE records --".encode().decode("latin-1")
        await raw.send(head("/topics/gates-notes", "Content-Length: 2", line) + b"{}")
        assert await raw.answer() == 200
    (records,) = await gate.written("notes")
    assert records.keys == ["ä; DROP TABLE records --".encode()]


async def test_the_token_is_asked_for_and_never_told(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    token = "a-very-secret-token"
    caplog.set_level(logging.DEBUG)
    async with Gate(broker, rides_app(), token=token) as gate:
        for given in ("", "Bearer", "Bearer wrong", f"Basic {token}", token, f"Bearer {token}x"):
            status, answer = await gate.post({}, "notes", Authorization=given)
            assert status == 401
            assert token not in str(answer)
        assert (await gate.post({}, "notes", query=f"?token={token}", Authorization=""))[0] == 401
        assert (await gate.post({}, "notes"))[0] == 200
        for path in ("/metrics", "/topics/gates-notes", "/topics/nope"):
            async with gate.client.get(path) as response:
                assert response.status == 401
        async with gate.client.get("/health/live") as response:
            assert response.status == 200
        with pytest.raises(Exception, match="401"):
            await gate.connect(topic="notes")
        ws = await gate.connect(topic="notes", headers={"Authorization": f"Bearer {token}"})
        await ws.ws.close()
    assert token not in caplog.text
