"""Names in the path: nothing but a declared topic is ever meant by one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flows.brokers.base import Broker
from tests.web.gates import Gate, rides_app
from tests.web.rawly import Raw, head


@pytest.fixture
async def gate(broker: Broker) -> AsyncIterator[Gate]:
    async with Gate(broker, rides_app()) as gate:
        yield gate


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize(
    "path",
    [
        "/topics/",
        "/topics/..",
        "/topics/../topics/gates-dear",
        "/topics/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/topics/..%5c..%5cwindows",
        "/topics//gates-notes",
        "/topics/gates-notes/",
        "/topics/gates-notes%00",
        "/topics/gates-notes%2Fpartitions",
        "/topics/gates-dear%00gates-notes",
        "/topics/GATES-NOTES",
        "/topics/%67ates-dear",
        "/topics/gates-by_city-changelog",
        "/topics/gates-rides-by_city-repartition",
        "/topics/gates-gateway-keys",
        "/topics/gates-dead-letters",
        "/topics/__consumer_offsets",
        "/topics/file:%2f%2f%2fetc%2fpasswd",
        "/topics/" + "a" * 5000,
        "/topics/" + "%C3%28" * 10,
    ],
)
async def test_no_other_name_is_taken(gate: Gate, path: str, method: str, tmp_path: Path) -> None:
    before = sorted(await gate.broker.topics())
    async with Raw(gate.port) as raw:
        await raw.send(head(path, "Content-Length: 2", "Connection: close", method=method) + b"{}")
        answer = await raw.until_closed()
    assert answer.split(b" ")[1] in (b"400", b"404", b"405")
    assert b"root:" not in answer
    assert sorted(await gate.broker.topics()) == before
    for topic in before:
        assert topic == "gates-notes" or not [r for r in await gate.written(topic.removeprefix("gates-")) if len(r)]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT"])
async def test_other_methods_are_refused(gate: Gate, method: str) -> None:
    async with Raw(gate.port) as raw:
        await raw.send(head("/topics/gates-notes", "Content-Length: 2", "Connection: close", method=method) + b"{}")
        answer = await raw.until_closed()
    assert answer.split(b" ")[1] in (b"400", b"403", b"405")
    assert await gate.written("notes") == []


async def test_another_spelling_of_a_declared_name_is_that_topic(gate: Gate) -> None:
    async with Raw(gate.port) as raw:
        await raw.send(head("/topics/%67ates-notes", "Content-Length: 2") + b"{}")
        assert await raw.answer() == 200
