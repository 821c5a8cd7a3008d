"""Paths that climb, name other things or are no paths: they reach no file, no other topic, no other answer."""

from __future__ import annotations

import pytest

from flows.brokers.base import Broker, Outgoing, TopicPartition, TopicSpec
from tests.web.fortress import SECRET, TOKEN, fortress
from tests.web.rawly import Raw, head

CLIMBING = [
    "..",
    "../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..%5c..%5cetc%5cpasswd",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "....//....//etc/passwd",
    "%252e%252e%252fetc%252fpasswd",
    "late_streak%00.csv",
    "%c0%ae%c0%ae/etc/passwd",
    "file:%2f%2f%2fetc%2fpasswd",
]
PLACES = [
    "/static/{}",
    "/api/tables/{}",
    "/api/tables/{}/download",
    "/api/tables/{}/changes",
    "/api/topics/{}/records",
    "/api/topics/{}/records/0/0",
    "/api/topics/{}/changes",
    "/topics/{}",
    "/{}",
]


@pytest.mark.parametrize("place", PLACES)
async def test_no_path_reaches_a_file(broker: Broker, place: str) -> None:
    async with fortress(broker) as found:
        for path in CLIMBING:
            async with Raw(found.port) as raw:
                await raw.send(head(place.format(path), "Connection: close", method="GET"))
                answer = await raw.until_closed()
                assert answer.split(b" ")[1:2] in ([b"400"], [b"404"], [b"405"], [b"426"]), (path, answer[:200])
                assert b"root:" not in answer
                assert b"import " not in answer


async def test_other_topics_of_the_broker_are_not_there(broker: Broker) -> None:
    """What the worker's password opens is not what a visitor may read."""
    await broker.create_topic(TopicSpec(name="payroll"))
    await broker.produce({TopicPartition("payroll", 0): Outgoing([b"k"], [SECRET.encode()], [0])})
    async with fortress(broker) as place:
        names = [topic["name"] for topic in await (await place.client.get("/api/topics")).json()]
        assert "payroll" not in names
        for path in ("records", "records/0/0", "changes"):
            async with place.client.get(f"/api/topics/payroll/{path}") as response:
                assert response.status == 404
                assert SECRET not in await response.text()
        async with place.client.post("/topics/payroll", json={}) as response:
            assert response.status == 404


@pytest.mark.parametrize(
    "path", ["/api%2Fstatus", "/%61pi/status", "//api/status", "/static/../api/status", "/health/../api/status",
             "/health/%2e%2e/api/status", "/API/status", "/api/status/", "/static/%2e%2e/api/status", "/./api/status"]
)  # fmt: skip
async def test_no_other_spelling_avoids_the_token(broker: Broker, path: str) -> None:
    async with fortress(broker, token=TOKEN) as place, Raw(place.port) as raw:
        await raw.send(head(path, "Connection: close", method="GET"))
        answer = await raw.until_closed()
        assert answer.split(b" ")[1] in (b"400", b"401", b"404")
        assert b"worker-1" not in answer


@pytest.mark.parametrize("path", ["/api/tables/late_streak", "/api/topics/gates-notes/records", "/static/js/main.js"])
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND"])
async def test_other_methods_do_nothing(broker: Broker, path: str, method: str) -> None:
    async with fortress(broker) as place, Raw(place.port) as raw:
        await raw.send(head(path, "Connection: close", "Content-Length: 0", method=method))
        assert (await raw.until_closed()).split(b" ")[1:2] in ([b"405"], [b"403"], [b"400"], [])
