"""A served site for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import ClientSession

from flows.brokers.base import Broker
from flows.brokers.registry import open_broker
from tests.web.airport import Site, airport
from tests.web.browser import Browser, browser, chromium
from tests.web.contract import every_answer_conforms
from tests.web.served import Served

__all__ = ["browser", "chromium", "every_answer_conforms"]


@pytest.fixture
def site() -> Site:
    return airport()


@pytest.fixture
def serve(browser: Browser) -> Iterator[Callable[..., Served]]:
    """Serve sites to the browser; it leaves them before they close."""
    running: list[Served] = []

    def start(site: Site, **options: object) -> Served:
        running.append(Served(site, **options))
        return running[-1]

    yield start
    browser.leave()
    for served in running:
        served.close()


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    """The airport, served to the browser."""
    return serve(airport())


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """An embedded broker, for a gateway."""
    found = open_broker(f"embedded://{tmp_path / 'broker'}")
    await found.start()
    yield found
    await found.close()


@pytest.fixture
async def client(site: Site) -> AsyncIterator[ClientSession]:
    """A client whose base address is a running server of `site`."""
    server = site.server()
    address = await server.start()
    async with ClientSession(address) as session:
        yield session
    await server.stop()
