"""Pages of other sites in the browser of somebody who may: whatever changes or reads state, none of them can ask it."""

from __future__ import annotations

import msgspec
import pytest

from flows.brokers.base import Broker
from tests.web.contract import DOCUMENT
from tests.web.fortress import SECRET, fortress, paths

FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://127.0.0.1.evil.example"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
]
BODIES = {
    "/api/query": {"sql": "SELECT 1"},
    "/api/dead-letters/redrive": {"all": True, "until": 10},
    "/topics/gates-notes": {"n": 1},
}


def test_each_operation_that_changes_something_is_tried_here() -> None:
    assert {path for _, path in paths("post")} == set(BODIES)
    assert {m for operations in DOCUMENT["paths"].values() for m in operations} == {"get", "post"}


@pytest.mark.parametrize("headers", FOREIGN)
async def test_a_foreign_page_can_ask_nothing(broker: Broker, headers: dict[str, str]) -> None:
    async with fortress(broker) as place:
        for method, path in paths():
            body = BODIES.get(path) if method == "POST" else None
            async with place.client.request(method, path, json=body, headers=headers) as response:
                assert response.status == 403, f"{method} {path}"
                assert SECRET not in await response.text()
                assert "Access-Control-Allow-Origin" not in response.headers
        assert await place.gate.written("notes") == []


@pytest.mark.parametrize("path", sorted(BODIES))
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "text/json"]
)
async def test_a_form_that_hides_where_it_comes_from_can_change_nothing(broker: Broker, path: str, kind: str) -> None:
    """Old browsers send forms without `Origin`: these content types are all that a form can have."""
    async with fortress(broker) as place:
        data = msgspec.json.encode(BODIES[path])
        async with place.client.post(path, data=data, headers={"Content-Type": kind}) as response:
            assert response.status == 415
        assert await place.gate.written("notes") == []


@pytest.mark.parametrize("path", sorted(BODIES))
async def test_a_preflight_is_answered_by_no_permission(broker: Broker, path: str) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    async with fortress(broker) as place, place.client.options(path, headers=asked) as response:
        assert response.status in (403, 405)
        assert not [name for name in response.headers if name.startswith("Access-Control-")]


@pytest.mark.parametrize("path", sorted(BODIES))
async def test_nothing_changes_by_a_link(broker: Broker, path: str) -> None:
    """A `GET` can come from anywhere, an image or a link; what changes state takes none."""
    async with fortress(broker) as place:
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        async with place.client.get(path, headers=link) as response:
            assert response.status in (405, 426)
