"""Headers: what is put into a path, a query, a name or a record never becomes a header of an answer, nor a request."""

from __future__ import annotations

import pytest

from flows.brokers.base import Broker
from tests.web.fortress import fortress
from tests.web.rawly import Raw, head

EVIL = "%0d%0aSet-Cookie:%20b=1%0d%0a%0d%0a<script>"
PLACES = [
    f"/api/tables/{EVIL}",
    f"/api/tables/{EVIL}/download?format=csv",
    f"/api/tables/late_streak/download?format={EVIL}",
    f"/api/tables/late_streak?limit={EVIL}",
    f"/api/tables/late_streak?{EVIL}=1",
    f"/api/tables/late_streak/changes?last_event_id={EVIL}",
    f"/api/tables/late_streak/changes?window={EVIL}",
    f"/api/topics/{EVIL}/records",
    f"/api/topics/gates-notes/records?from={EVIL}",
    f"/api/topics/gates-notes/records?positions={EVIL}",
    f"/api/topics/gates-notes/changes?last_event_id={EVIL}",
    f"/api/dead-letters?before={EVIL}",
    f"/static/{EVIL}",
    f"/{EVIL}",
]


@pytest.mark.parametrize("path", PLACES)
async def test_what_is_asked_stays_in_the_body_of_the_answer(broker: Broker, path: str) -> None:
    async with fortress(broker) as place, Raw(place.port) as raw:
        await raw.send(head(path, "Connection: close", method="GET"))
        answer = await raw.until_closed()
    first, _, body = answer.partition(b"\r\n\r\n")
    assert first.split(b" ")[1] in (b"400", b"404")
    assert b"set-cookie" not in first.lower()
    assert b"application/json" in first
    assert b"HTTP/1.1" not in body


@pytest.mark.parametrize(
    "line",
    [
        "Last-Event-ID: a\rb",
        "Last-Event-ID: a\nSmuggled: yes",
        "Last-Event-ID: a\0b",
        "Last-Event-ID : a",
        " Last-Event-ID: folded",
        ": no name",
        "Authorization: Bearer a\x7fb",
    ],
)
async def test_a_header_with_control_characters_does_nothing(broker: Broker, line: str) -> None:
    async with fortress(broker) as place, Raw(place.port) as raw:
        await raw.send(head("/api/tables", "Connection: close", line, method="GET"))
        answer = await raw.until_closed()
    assert answer.split(b" ")[1] in (b"200", b"400")
    assert b"Smuggled" not in answer.split(b"\r\n\r\n")[0]


@pytest.mark.parametrize(
    "lines",
    [[f"X-Long: {'x' * 100_000}"], [f"X-{n}: {'x' * 100}" for n in range(2000)], [f"{'x' * 100_000}: a"]],
    ids=["long", "many", "name"],
)
async def test_headers_past_all_measure_are_refused(broker: Broker, lines: list[str]) -> None:
    async with fortress(broker) as place, Raw(place.port) as raw:
        await raw.send(head("/api/tables", *lines, method="GET"))
        assert (await raw.until_closed()).split(b" ")[1:2] in ([b"400"], [])


@pytest.mark.parametrize("path", ["/", "/api/tables", "/api/nope", "/api/tables/late_streak/download", "/metrics",
                                  "/api/topics", "/api/openapi.json", "/static/nope", "/topics/nope"])  # fmt: skip
async def test_every_answer_confines_the_browser(broker: Broker, path: str) -> None:
    async with fortress(broker) as place, place.client.get(path) as response:
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        for name, value in (
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Referrer-Policy", "no-referrer"),
        ):
            assert response.headers[name] == value
        assert response.headers.get("Cache-Control") in ("no-store", "no-cache")
