"""A served site for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from tests.web.airport import Site, airport
from tests.web.browser import browser, chromium

__all__ = ["browser", "chromium"]


@pytest.fixture
def site() -> Site:
    return airport()


@pytest.fixture
async def client(site: Site) -> AsyncIterator[ClientSession]:
    """A client whose base address is a running server of `site`."""
    server = site.server()
    address = await server.start()
    async with ClientSession(address) as session:
        yield session
    await server.stop()
