"""The token: nothing is told without it, it is compared in constant time, and it stands in no log, answer or URL."""

from __future__ import annotations

import hmac
import logging
from typing import Any

import pytest
from aiohttp import ClientSession, WSServerHandshakeError

from flows.brokers.base import Broker
from tests.web.contract import DOCUMENT
from tests.web.fortress import SECRET, TOKEN, fortress, paths

WRONG = ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"]


@pytest.mark.parametrize("given", WRONG)
async def test_no_operation_answers_without_it(broker: Broker, given: str) -> None:
    async with fortress(broker, token=TOKEN) as place, ClientSession(place.address) as stranger:
        for method, path in paths():
            async with stranger.request(method, path, headers={"Authorization": given}) as response:
                text = await response.text()
                assert (response.status == 401) != path.startswith("/health/"), f"{method} {path}"
                assert SECRET not in text
                assert TOKEN not in text
                assert TOKEN not in str(response.headers)


async def test_in_a_url_it_opens_nothing(broker: Broker) -> None:
    async with fortress(broker, token=TOKEN) as place, ClientSession(place.address) as stranger:
        for name in ("token", "access_token", "authorization", "last_event_id"):
            async with stranger.get("/api/tables", params={name: TOKEN}) as response:
                assert response.status == 401
        with pytest.raises(WSServerHandshakeError, match="401"):
            await stranger.ws_connect(f"/api/tables/late_streak/changes?token={TOKEN.replace(' ', '+')}")
    parameters = [p["name"] for o in DOCUMENT["paths"].values() for op in o.values() for p in op["parameters"]]
    assert not [name for name in parameters if "token" in name.lower()]


async def test_it_is_never_logged(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with fortress(broker, token=TOKEN) as place, ClientSession(place.address) as stranger:
        for client in (place.client, stranger):
            for method, path in paths():
                if not path.endswith("/changes"):
                    async with client.request(method, path) as response:
                        assert TOKEN not in await response.text()
        for header in ("Bearer " + TOKEN + "\xff", "bearer  " + TOKEN):
            async with stranger.get("/api/status", headers={"Authorization": header}):
                pass
    assert TOKEN not in caplog.text


async def test_the_comparison_takes_as_long_however_much_is_right(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `hmac.compare_digest`, of the whole of both, whatever is given."""
    compared: list[tuple[Any, Any]] = []
    compare = hmac.compare_digest

    def digest(one: Any, other: Any) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", digest)
    async with fortress(broker, token=TOKEN) as place, ClientSession(place.address) as stranger:
        for given in WRONG:
            async with stranger.get("/api/status", headers={"Authorization": given}) as response:
                assert response.status == 401
    assert len(compared) == len(WRONG)
    assert {other for _, other in compared} == {TOKEN.encode()}
