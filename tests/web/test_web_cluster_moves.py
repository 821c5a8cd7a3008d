"""Two real workers while things change: events come, one is killed, one restores. What an answer lacks is in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.web.events import Events
from tests.web.workers import Harbour, arrival, until

pytestmark = pytest.mark.crash

SHIPS = 40
ALL = {"limit": "9999"}


@pytest.fixture
async def harbour(tmp_path: Path) -> AsyncIterator[Harbour]:
    async with Harbour(tmp_path) as harbour:
        yield harbour


async def part_of(harbour: Harbour, address: str) -> tuple[str, set[int]]:
    """Return a table of which a worker holds something, and the partitions that it holds."""
    held = next(m.tasks for m in await harbour.members() if m.address == address)
    part = "arrivals" if any(task.startswith("arrivals/") for task in held) else "by_port"
    partitions = {int(task.rpartition("/")[2]) for task in held if task.startswith(f"{part}/")}
    return {"arrivals": "by_ship", "by_port": "by_port"}[part], partitions


async def test_changes_of_both_come_from_either(harbour: Harbour) -> None:
    addresses = [await harbour.start(), await harbour.start()]
    await harbour.until_shared()
    await harbour.until_all(addresses, 0)
    sent = [{**arrival(n), "tons": 0} for n in range(SHIPS)]
    for address in addresses:
        async with harbour.client.get(f"{address}/api/tables/by_ship/changes") as response:
            events = Events(response)
            assert (await events.next())[0] == "ready"
            await harbour.send(sent)
            seen: set[str] = set()
            while len(seen) < SHIPS:
                seen |= {change["key"]["ship"] for change in await events.named("changes")}


async def test_what_a_killed_worker_held_is_named_until_another_has_it(harbour: Harbour) -> None:
    await harbour.send(arrival(n) for n in range(SHIPS))
    alive, dead = await harbour.start(), await harbour.start()
    await harbour.until_shared()
    await harbour.until_all([alive, dead], SHIPS)
    table, lost = await part_of(harbour, dead)
    whole = (await harbour.ask(alive, f"/api/tables/{table}", **ALL))["rows"]
    name = next(m.id for m in await harbour.members() if m.address == dead)
    async with harbour.client.get(f"{alive}/api/tables/{table}/changes") as response:
        events = Events(response)
        assert (await events.next())[0] == "ready"
        harbour.kill(dead)
        await events.named("resync")
    told = await harbour.ask(alive, f"/api/tables/{table}", **ALL)
    # Within its lease, unless this machine was very slow.
    reasons = {(lack["worker"], lack["reason"]) for lack in told["missing"]}
    assert reasons <= {(name, "does not answer"), (None, "no worker has taken it over yet")}
    assert {(lack["table"], lack["partition"]) for lack in told["missing"]} <= {(table, p) for p in lost}

    async def taken_over() -> Any:
        told = await harbour.ask(alive, f"/api/tables/{table}", **ALL)
        assert all(row in whole for row in told["rows"])
        assert told["missing"] or told["rows"] == whole, "an answer lacks nothing that it does not name"
        return told["rows"] == whole and not told["missing"]

    await until(taken_over, "the tables of both at the one")
    status = await harbour.ask(alive, "/api/status")
    assert status["unheld"] == []


async def test_a_worker_that_restores_says_how_far_it_is(harbour: Harbour) -> None:
    count = 400_000
    await harbour.log_visits(count)
    first = await harbour.start()

    async def restoring(address: str, worker: str) -> Any:
        told = await harbour.ask(address, "/api/query", "SELECT count(*) FROM visits")
        rows = told["rows"][0][0]
        assert told["missing"] or rows == count, "an answer lacks nothing that it does not name"
        return [m["reason"] for m in told["missing"] if m["worker"] == worker and "% of" in m["reason"]]

    (member,) = await harbour.members()
    (reason, *_) = await until(lambda: restoring(first, member.id), "the first one's restore")
    assert reason.endswith("% of 100 k records")

    async def complete() -> Any:
        return not (await harbour.ask(first, "/api/query", "SELECT count(*) FROM visits"))["missing"]

    await until(complete, "all rows at the first")


async def test_a_stopped_worker_is_named_and_its_old_rows_are_never_taken(harbour: Harbour) -> None:
    await harbour.send(arrival(n) for n in range(SHIPS))
    alive, stopped = await harbour.start(), await harbour.start()
    await harbour.until_shared()
    await harbour.until_all([alive, stopped], SHIPS)
    table, _ = await part_of(harbour, stopped)
    whole = (await harbour.ask(alive, f"/api/tables/{table}", **ALL))["rows"]
    harbour.stop(stopped)

    async def taken_over() -> Any:
        told = await harbour.ask(alive, f"/api/tables/{table}", **ALL)
        assert told["missing"] or told["rows"] == whole, "an answer lacks nothing that it does not name"
        return not told["missing"]

    await until(taken_over, "the tables of both at the one")


async def test_workers_with_one_token_answer_each_other_and_no_others(harbour: Harbour) -> None:
    await harbour.send(arrival(n) for n in range(SHIPS))
    harbour.token = "open sesame"
    friends = [await harbour.start(token="open sesame"), await harbour.start(token="open sesame")]
    await harbour.until_shared()
    await harbour.until_all(friends, SHIPS)
    stranger = await harbour.start(token="open says me")

    async def refused() -> Any:
        status = await harbour.ask(friends[0], "/api/status")
        return [w["trouble"] for w in status["workers"] if w["address"] == stranger and w["trouble"]]

    assert await until(refused, "a stranger") == ["refuses this worker; the web token must be the same for all"]
    assert "sesame" not in (harbour.folder / "worker.log").read_text()
