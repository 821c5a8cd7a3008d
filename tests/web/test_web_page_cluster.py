"""The page of one of two real workers: the rows of both, who holds what, and what is missing when one dies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.web.browser import Browser
from tests.web.workers import Harbour, arrival

pytestmark = [pytest.mark.browser, pytest.mark.crash]

SHIPS = 40
WORKERS, TASKS = "[aria-label=Workers]", "[aria-label=Tasks]"


class Quay:
    """The harbour, for tests that block."""

    def __init__(self, folder: Path, runner: asyncio.Runner) -> None:
        self._runner = runner
        # Long enough for a person, and a slow machine, to see what a killed worker leaves.
        self.harbour = self.do(_make(folder))

    def do(self, work: Any) -> Any:
        """Run a coroutine to its end."""
        return self._runner.run(work)


async def _make(folder: Path) -> Harbour:
    return Harbour(folder, lease=15.0)


@pytest.fixture
def quay(tmp_path: Path, browser: Browser) -> Iterator[Quay]:
    with asyncio.Runner() as runner:
        quay = Quay(tmp_path, runner)
        quay.do(quay.harbour.__aenter__())
        try:
            yield quay
            browser.leave()
        finally:
            quay.do(quay.harbour.__aexit__())


def test_a_page_shows_both_workers_and_what_a_dead_one_takes_along(quay: Quay, browser: Browser) -> None:
    harbour, do = quay.harbour, quay.do
    do(harbour.send(arrival(n) for n in range(SHIPS)))
    alive, dead = do(harbour.start()), do(harbour.start())
    do(harbour.until_shared())
    do(harbour.until_all([alive, dead], SHIPS))
    ids = {m.address: m.id for m in do(harbour.members())}
    held = next(m.tasks for m in do(harbour.members()) if m.address == dead)
    table, rows = ("by_ship", SHIPS) if any(t.startswith("arrivals/") for t in held) else ("by_port", 21)

    browser.open(f"{alive}/#/tables/{table}?window=all")
    browser.until(lambda: len(browser.rows()) == rows, "the rows of both")
    browser.until(lambda: browser.text(".pill") == "Live", "a page that is live")
    assert browser.text(".brand-worker") == f"{ids[alive]} · one of 2 workers"
    assert not browser.find(".lack").is_displayed()
    browser.look("cluster-rows")

    browser.find("[data-page=workers]").click()
    browser.until(lambda: len(browser.rows(TASKS)) == 8, "tasks")
    workers = browser.rows(WORKERS)
    assert [cells[0] for cells in workers] == [f"{ids[alive]} (this one)", ids[dead]]
    assert [cells[-1] for cells in workers] == [alive, dead]
    assert {cells[2] for cells in browser.rows(TASKS)} == set(ids.values())
    assert {cells[1] for cells in browser.rows(TASKS)} == {"running"}
    browser.look("cluster-workers")

    harbour.kill(dead)
    browser.until(lambda: browser.rows(WORKERS)[1][1] == "does not answer", "a worker that is silent")
    assert browser.text(".pill") == "1 of 2 workers silent"
    browser.look("cluster-workers-one-dead")
    browser.open(f"{alive}/#/tables/{table}?window=all")
    lack = browser.until(lambda: browser.text(".lack"), "what is missing")
    assert lack.startswith("Some rows are missing here:\npartition")
    assert f"{ids[dead]} does not answer" in lack
    browser.look("cluster-rows-one-dead")

    browser.until(lambda: not browser.find(".lack").is_displayed() and len(browser.rows()) == rows, "all rows again")
    browser.until(lambda: browser.text(".pill") == "Live", "a page that is live again")
    assert browser.text(".brand-worker") == ids[alive]
