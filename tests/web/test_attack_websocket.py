"""WebSockets, which no same-origin policy holds back: a page of another site gets none, whatever path it tries."""

from __future__ import annotations

import pytest

from flows.brokers.base import Broker
from tests.web.contract import DOCUMENT
from tests.web.fortress import SECRET, TOKEN, fortress, paths
from tests.web.rawly import Raw, head
from tests.web.test_gateway_origin import FOREIGN, UPGRADE

SOCKETS = [
    "/api/tables/late_streak/changes",
    "/api/topics/gates-notes/changes",
    "/topics/gates-notes",
]


def test_each_websocket_is_tried_here() -> None:
    described = {path for path, o in DOCUMENT["paths"].items() if "101" in o.get("get", {}).get("responses", {})}
    assert len(described) == len(SOCKETS)
    assert set(SOCKETS) <= {path for _, path in paths("get")}


@pytest.mark.parametrize("path", SOCKETS)
@pytest.mark.parametrize("lines", FOREIGN)
async def test_a_foreign_page_gets_none(broker: Broker, path: str, lines: tuple[str, ...]) -> None:
    async with fortress(broker) as place, Raw(place.port) as raw:
        await raw.send(head(path, *UPGRADE, "Connection: close", *lines, method="GET"))
        answer = await raw.until_closed() if lines else b""
        assert answer.split(b" ")[1] == b"403"
        assert SECRET.encode() not in answer


@pytest.mark.parametrize("path", SOCKETS)
async def test_the_own_page_and_programs_get_one(broker: Broker, path: str) -> None:
    async with fortress(broker) as place:
        for headers in ({}, {"Origin": place.address}):
            async with place.client.ws_connect(path, headers=headers) as ws:
                assert not ws.closed


@pytest.mark.parametrize("path", SOCKETS)
async def test_a_rebound_name_gets_none(broker: Broker, path: str) -> None:
    async with fortress(broker) as place, Raw(place.port) as raw:
        lines = ("Origin: http://evil.example", *UPGRADE)
        await raw.send(head(path, *lines, method="GET").replace(b"Host: 127.0.0.1", b"Host: evil.example"))
        assert await raw.answer() == 403


@pytest.mark.parametrize("path", SOCKETS)
async def test_without_the_token_there_is_none(broker: Broker, path: str) -> None:
    async with fortress(broker, token=TOKEN) as place, Raw(place.port) as raw:
        await raw.send(head(path, *UPGRADE, method="GET"))
        assert await raw.answer() == 401
