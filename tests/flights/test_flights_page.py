"""The live page of a real worker in a real browser: tables are listed, rows change as the replay goes on."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.brokers.registry import open_broker
from tests.flights.workers import PATIENCE, Process
from tests.web.browser import PHONE, Browser, browser, chromium

__all__ = ["browser", "chromium"]
pytestmark = pytest.mark.browser


async def _address(data: Path) -> str:
    broker = open_broker(f"embedded://{data / 'broker'}")
    await broker.start()
    try:
        deadline = time.monotonic() + PATIENCE
        while not (members := await broker.group_members("flights")):
            assert time.monotonic() < deadline, "no worker joined"
            await asyncio.sleep(0.05)
        return members[0].address
    finally:
        await broker.close()


@pytest.fixture
def page(tmp_path: Path, browser: Browser) -> Iterator[str]:
    """A worker that replays half a day a second, and the address of its page."""
    process = Process(tmp_path / "data", "--web-port", "0", "--speed", "43200")
    try:
        yield asyncio.run(_address(tmp_path / "data"))
        browser.leave()
    finally:
        process.interrupt()
        process.wait()


def test_the_page_of_a_running_worker(page: str, browser: Browser) -> None:
    browser.open(page)
    names = browser.until(lambda: (t := browser.text("body")) and "delays_by_carrier" in t and t, "the tables")
    assert "flights_by_route" in names
    assert "late_streak" in names
    browser.open(f"{page}/#/tables/delays_by_carrier")
    first = browser.until(lambda: browser.rows() or None, "rows")
    browser.until(lambda: browser.rows() not in ([], first), "rows that change")
    browser.resize(PHONE)
    browser.until(lambda: browser.rows() or None, "rows on a phone")


def test_the_api_tells_the_same(page: str) -> None:
    def ask(path: str) -> dict[str, object]:
        with urllib.request.urlopen(page + path, timeout=30) as answer:
            found: dict[str, object] = json.load(answer)
            return found

    deadline = time.monotonic() + PATIENCE
    while not (rows := ask("/api/tables/delays_by_carrier?limit=3")["rows"]):
        assert time.monotonic() < deadline
    assert isinstance(rows, list)
    assert set(rows[0]) >= {"carrier", "window_start", "window_end", "flights", "mean_delay", "p95_delay"}
    status = ask("/api/status")
    assert status["app"] == "flights"
