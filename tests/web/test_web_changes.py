"""The stream of changes: nothing missed after `ready`, never more than asked for, bounded for the slow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import ClientSession

from flows.query.base import Change
from flows.web import Limits
from tests.web.airport import HOUR, NEW_YEAR, Site, airport, delay
from tests.web.events import DEADLINE, Events

PATH = "/api/tables/delays_by_carrier/changes"


async def until(condition: Callable[[], bool]) -> None:
    """Give way to others until the condition holds."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0)


def carriers(changes: list[dict[str, Any]]) -> list[str]:
    return [change["key"]["carrier"] for change in changes]


async def test_changes_after_ready_arrive_with_key_and_row(client: ClientSession, site: Site) -> None:
    async with client.get(PATH) as response:
        events = Events(response)
        assert response.content_type == "text/event-stream"
        assert await events.next() == ("ready", {"window": None})
        row = delay("AA", 2, flights=4)
        site.tables.put("delays_by_carrier", row)
        key = {"carrier": "AA", "window_start": NEW_YEAR + 2 * HOUR, "window_end": NEW_YEAR + 3 * HOUR}
        assert await events.next() == ("changes", [{"key": key, "row": row}])
        site.tables.remove("delays_by_carrier", row)
        assert await events.next() == ("changes", [{"key": key, "row": None}])


async def test_a_change_between_ready_and_reading_is_not_lost(client: ClientSession, site: Site) -> None:
    """A generator registers its reader late; the stream must not say `ready` before it has."""
    subscribe = site.tables.hub.subscribe

    async def lazily(table: str) -> AsyncIterator[list[Change]]:
        async for changes in subscribe(table):
            yield changes

    site.tables.changes = lazily  # type: ignore[method-assign,assignment]
    async with client.get("/api/tables/late_streak/changes") as response:
        events = Events(response)
        assert (await events.next())[0] == "ready"
        assert site.tables.hub.wanted("late_streak")
        site.tables.put("late_streak", {"key": "EWR", "value": 1})
        assert await events.named("changes") == [{"key": {"key": "EWR"}, "row": {"key": "EWR", "value": 1}}]


async def test_filters_by_key_and_window(client: ClientSession, site: Site) -> None:
    async with client.get(PATH, params={"key": "A", "window": f"{NEW_YEAR}"}) as response:
        events = Events(response)
        await events.named("ready")
        site.tables.put("delays_by_carrier", *(delay(name, hour) for name in ("AA", "B6", "UA") for hour in (0, 1)))
        changes = await events.named("changes")
        assert carriers(changes) == ["AA", "UA"]
        assert {change["row"]["window_start"] for change in changes} == {NEW_YEAR}


async def test_newest_follows_to_newer_windows_and_leaves_out_older(client: ClientSession, site: Site) -> None:
    async with client.get(PATH, params={"window": "newest"}) as response:
        events = Events(response)
        assert await events.next() == ("ready", {"window": NEW_YEAR + 2 * HOUR})
        site.tables.put("delays_by_carrier", delay("AA", 1), delay("UA", 2))
        assert carriers(await events.named("changes")) == ["UA"]
        site.tables.put("delays_by_carrier", delay("AA", 2), delay("B6", 5), delay("UA", 4))
        assert await events.next() == ("window", {"window": NEW_YEAR + 5 * HOUR})
        assert carriers(await events.named("changes")) == ["B6"]


async def test_many_commits_become_few_messages_with_the_latest_rows(site: Site) -> None:
    server = site.server(limits=Limits(pace=0.2))
    async with ClientSession(await server.start()) as client, client.get(PATH) as response:
        events = Events(response)
        await events.named("ready")
        started, received, last = time.monotonic(), 0, 0
        commits = asyncio.create_task(_commit(site, 400))
        while last < 400:
            received += 1
            changes = await events.named("changes")
            assert len(carriers(changes)) == len(set(carriers(changes)))
            last = changes[-1]["row"]["flights"]
        assert received <= 2 + (time.monotonic() - started) / 0.2
        await commits
    await server.stop()


async def _commit(site: Site, count: int) -> None:
    for flights in range(1, count + 1):
        site.tables.put("delays_by_carrier", delay("AA", 2, flights=flights))
        await asyncio.sleep(0)


async def test_too_many_changes_for_the_reader_say_resync_and_go_on() -> None:
    site = airport(bound=10)
    server = site.server(limits=Limits(pace=0.01))
    async with ClientSession(await server.start()) as client, client.get(PATH, params={"window": "newest"}) as answer:
        events = Events(answer)
        await events.named("ready")
        site.tables.put("delays_by_carrier", *(delay(f"C{n}", 3) for n in range(50)))
        assert await events.named("resync") == {"window": NEW_YEAR + 3 * HOUR}
        site.tables.put("delays_by_carrier", delay("AA", 3, flights=9))
        assert carriers(await events.named("changes")) == ["AA"]
    await server.stop()


async def test_a_client_that_takes_nothing_is_cut_off_with_bounded_memory(site: Site) -> None:
    server = site.server(limits=Limits(pace=0.0, patience=0.2, memory=0.0))
    async with ClientSession(await server.start()) as client, client.get(PATH) as response:
        await Events(response).named("ready")
        wide = "x" * 10_000
        count = 0
        async with asyncio.timeout(DEADLINE):
            while site.tables.hub.wanted("delays_by_carrier"):
                site.tables.put("delays_by_carrier", *(delay(f"{n}{wide}", 2) for n in range(50)))
                count += 1
                await asyncio.sleep(0)
        assert count > 1
    await server.stop()


async def test_quiet_streams_send_heartbeats(site: Site) -> None:
    server = site.server(limits=Limits(heartbeat=0.05))
    async with ClientSession(await server.start()) as client, client.get(PATH, params={"key": "none"}) as response:
        events = Events(response)
        await events.named("ready")
        assert await events.next() == ("", None)
        commits = asyncio.create_task(_commit_for_ever(site))
        assert await events.next() == ("", None)
        commits.cancel()
    await server.stop()


async def _commit_for_ever(site: Site) -> None:
    while True:
        site.tables.put("delays_by_carrier", delay("AA", 2))
        await asyncio.sleep(0)


async def test_a_visitor_who_leaves_is_forgotten(client: ClientSession, site: Site) -> None:
    response = await client.get(PATH)
    await Events(response).named("ready")
    assert site.tables.hub.wanted("delays_by_carrier")
    response.close()
    await until(lambda: not site.tables.hub.wanted("delays_by_carrier"))


async def test_no_more_streams_than_the_limit(site: Site) -> None:
    server = site.server(limits=Limits(streams=1, memory=0.0))
    async with ClientSession(await server.start()) as client:
        first = await client.get(PATH)
        await Events(first).named("ready")
        async with client.get(PATH) as refused:
            assert refused.status == 503
            assert refused.headers["Retry-After"] == "5"
            assert "1 change streams are open" in (await refused.json())["error"]
        first.close()
        await until(lambda: not site.tables.hub.wanted("delays_by_carrier"))
        async with client.get(PATH) as again:
            assert again.status == 200
    await server.stop()


@pytest.mark.parametrize("blocked", [False, True], ids=["reading", "not reading"])
async def test_stopping_ends_open_streams_at_once(site: Site, blocked: bool) -> None:
    server = site.server()
    async with ClientSession(await server.start()) as client, client.get(PATH) as response:
        events = Events(response)
        await events.named("ready")
        if blocked:
            wide = "x" * 20_000
            site.tables.put("delays_by_carrier", *(delay(f"{n}{wide}", 2) for n in range(900)))
            await until(lambda: response.content.total_bytes > 0)
        async with asyncio.timeout(3):
            await server.stop()
        if not blocked:
            assert await events.next() == ("end", None)
        assert not site.tables.hub.wanted("delays_by_carrier")


async def test_a_closed_hub_ends_the_stream(client: ClientSession, site: Site) -> None:
    async with client.get(PATH) as response:
        events = Events(response)
        await events.named("ready")
        site.tables.hub.close()
        assert await events.next() == ("end", None)


async def test_a_source_that_fails_ends_the_stream_and_is_logged(
    client: ClientSession, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    begun = asyncio.Event()

    async def fails(_table: str) -> AsyncIterator[list[Change]]:
        await begun.wait()
        yield [Change(key={"key": "JFK"}, row=None)]
        raise RuntimeError("the store is gone")

    site.tables.changes = fails  # type: ignore[method-assign,assignment]
    async with client.get("/api/tables/late_streak/changes") as response:
        events = Events(response)
        await events.named("ready")
        begun.set()
        assert await events.named("changes") == [{"key": {"key": "JFK"}, "row": None}]
        assert await events.next() == ("end", None)
    assert "the store is gone" in caplog.text
