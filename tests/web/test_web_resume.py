"""Streams that go on where the connection was lost: nothing missed, nothing twice; by events and by WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, WSServerHandshakeError
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.brokers.base import Broker, TopicPartition
from flows.query.base import Change, ChangesMissed
from flows.web import Limits
from flows.web.journal import Journal, Journals
from tests.web.airport import HOUR, NEW_YEAR, Site, delay
from tests.web.events import DEADLINE, Events
from tests.web.looked import Looked
from tests.web.memory_tables import MemoryTables
from tests.web.test_web_topics import NOON, rides_app

CHANGES, STREAK = "/api/tables/delays_by_carrier/changes", "/api/tables/late_streak/changes"
QUICK = Limits(pace=0.0, memory=60.0)


@pytest.fixture
async def kept(site: Site) -> AsyncIterator[ClientSession]:
    """A server that keeps changes for who comes again."""
    server = site.server(limits=QUICK)
    async with ClientSession(await server.start()) as client:
        yield client
    await server.stop()


def streak(key: str, value: int) -> dict[str, Any]:
    return {"key": key, "value": value}


async def lose(client: ClientSession, path: str, **query: str) -> str:
    """Watch, and lose the connection after `ready`; return the last id."""
    async with client.get(path, params=query) as response:
        events = Events(response)
        await events.named("ready")
        return events.id


async def test_what_changed_meanwhile_comes_after_resumed(kept: ClientSession, site: Site) -> None:
    last = await lose(kept, STREAK)
    site.tables.put("late_streak", streak("JFK", 3), streak("EWR", 1))
    site.tables.put("late_streak", streak("JFK", 4))
    site.tables.remove("late_streak", streak("LGA", 0))
    async with kept.get(STREAK, headers={"Last-Event-ID": last}) as response:
        events = Events(response)
        assert await events.next() == ("resumed", {"window": None})
        found = {change["key"]["key"]: change["row"] for change in await events.named("changes")}
        assert found == {"EWR": streak("EWR", 1), "JFK": streak("JFK", 4), "LGA": None}
        behind = events.id
    async with kept.get(STREAK, params={"last_event_id": behind}) as response:
        events = Events(response)
        assert (await events.next())[0] == "resumed"
        site.tables.put("late_streak", streak("JFK", 5))
        assert [change["row"] for change in await events.named("changes")] == [streak("JFK", 5)]


async def test_the_newest_window_is_followed_over_the_gap(kept: ClientSession, site: Site) -> None:
    last = await lose(kept, CHANGES, window="newest")
    site.tables.put("delays_by_carrier", delay("UA", 2, flights=7), delay("AA", 4), delay("B6", 4))
    async with kept.get(CHANGES, params={"window": "newest", "last_event_id": last}) as response:
        events = Events(response)
        assert await events.next() == ("resumed", {"window": NEW_YEAR + 2 * HOUR})
        assert await events.next() == ("window", {"window": NEW_YEAR + 4 * HOUR})
        assert [change["key"]["carrier"] for change in await events.named("changes")] == ["AA", "B6"]


@pytest.mark.parametrize("last", ["x", "x-1", "x-1-", "0-0-nan", "-1", "a-99999999999999999999", "0:1,1:2", "a-b-c"])
async def test_an_id_of_elsewhere_begins_anew(kept: ClientSession, last: str) -> None:
    async with kept.get(STREAK, headers={"Last-Event-ID": last}) as response:
        assert (await Events(response).next())[0] == "ready"


@pytest.mark.parametrize("last", ["ä", "a\tb", "x" * 70_000])
async def test_an_id_that_nobody_sent_is_refused(kept: ClientSession, last: str) -> None:
    async with kept.get(STREAK, params={"last_event_id": last}) as response:
        assert response.status in (400, 414)


async def test_too_much_meanwhile_begins_anew(site: Site) -> None:
    server = site.server(limits=Limits(pace=0.0, keys=5))
    async with ClientSession(await server.start()) as client:
        last = await lose(client, STREAK)
        site.tables.put("late_streak", *(streak(f"K{n}", n) for n in range(6)))
        async with client.get(STREAK, headers={"Last-Event-ID": last}) as response:
            assert (await Events(response).next())[0] == "ready"
    await server.stop()


async def test_what_is_kept_is_forgotten_after_a_while(site: Site) -> None:
    journals, asked = Journals(linger=0.01), site.tables
    journal = journals.take("cluster", "late_streak", asked)
    await journal.opened()
    journals.give("cluster", "late_streak", journal)
    async with asyncio.timeout(DEADLINE):
        while asked.hub.wanted("late_streak"):  # noqa: ASYNC110 - it goes by a timer of the loop
            await asyncio.sleep(0.005)
    assert journals.take("cluster", "late_streak", asked).id != journal.id
    await journals.close()
    assert not asked.hub.wanted("late_streak")


class Line:
    """A visitor's end of a WebSocket."""

    def __init__(self, ws: ClientWebSocketResponse) -> None:
        self.ws, self.id = ws, ""

    async def next(self) -> tuple[str, Any]:
        message = await self.ws.receive_json(timeout=DEADLINE)
        self.id = message["id"] or self.id
        return message["event"], message["data"]


async def test_a_websocket_tells_the_same_and_goes_on(kept: ClientSession, site: Site) -> None:
    async with kept.ws_connect(STREAK) as ws:
        line = Line(ws)
        assert await line.next() == ("ready", {"window": None})
        site.tables.put("late_streak", streak("JFK", 3))
        assert await line.next() == ("changes", [{"key": {"key": "JFK"}, "row": streak("JFK", 3)}])
    site.tables.put("late_streak", streak("JFK", 4))
    async with kept.ws_connect(f"{STREAK}?last_event_id={line.id}") as ws:
        line = Line(ws)
        assert (await line.next())[0] == "resumed"
        assert (await line.next())[1][0]["row"] == streak("JFK", 4)


async def test_a_websocket_of_a_foreign_page_is_refused(kept: ClientSession) -> None:
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        with pytest.raises(WSServerHandshakeError) as refused:
            await kept.ws_connect(STREAK, headers={"Origin": origin})
        assert refused.value.status == 403


async def test_a_websocket_that_talks_too_much_is_closed(kept: ClientSession) -> None:
    async with kept.ws_connect(STREAK) as ws:
        await Line(ws).next()
        await ws.send_str("x" * 100_000)
        async with asyncio.timeout(DEADLINE):
            while (await ws.receive()).type not in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR):
                pass
        assert ws.closed


async def test_websockets_count_as_streams_and_end_with_the_server(site: Site) -> None:
    server = site.server(limits=Limits(streams=1))
    async with ClientSession(await server.start()) as client:
        ws = await client.ws_connect(STREAK)
        await Line(ws).next()
        with pytest.raises(WSServerHandshakeError) as refused:
            await client.ws_connect(STREAK)
        assert refused.value.status == 503
        async with asyncio.timeout(5):
            await server.stop()
        assert (await ws.receive()).type in (WSMsgType.CLOSE, WSMsgType.CLOSED)


# Topics


@pytest.fixture
async def looked(broker: Broker) -> AsyncIterator[Looked]:
    async with Looked(broker, rides_app(), limits=QUICK) as looked:
        yield looked


async def ride(looked: Looked, n: int, partition: int = 0) -> None:
    await looked.put("rides", partition, (f"c{n}", {"city": f"c{n}", "fare": float(n)}, NOON + n))


TOPIC = "/api/topics/rides/changes"


async def fares(events: Any, count: int) -> list[float]:
    found: list[float] = []
    while len(found) < count:
        name, data = await events.next()
        found += [record["value"]["fare"] for record in data] if name == "records" else []
    return found


async def test_a_topic_is_followed_and_resumed_where_it_was(looked: Looked) -> None:
    await ride(looked, 0)
    async with looked.client.get(TOPIC) as response:
        events = Events(response)
        assert await events.next() == ("ready", {})
        await ride(looked, 1)
        await ride(looked, 2, partition=2)
        assert sorted(await fares(events, 2)) == [1.0, 2.0]
        last = events.id
    for n in (3, 4, 5):
        await ride(looked, n, partition=n % 3)
    async with looked.client.get(TOPIC, headers={"Last-Event-ID": last}) as response:
        assert sorted(await fares(Events(response), 3)) == [3.0, 4.0, 5.0]
    async with looked.client.ws_connect(f"{TOPIC}?last_event_id={last}") as ws:
        assert sorted(await fares(Line(ws), 3)) == [3.0, 4.0, 5.0]


async def test_what_is_read_and_then_followed_misses_nothing(looked: Looked) -> None:
    await ride(looked, 0)
    found = await looked.get("/api/topics/rides/records")
    await ride(looked, 1)
    async with looked.client.get(TOPIC, params={"positions": found["next"]}) as response:
        assert await fares(Events(response), 1) == [1.0]
    async with looked.client.get(TOPIC, params={"from": "oldest"}) as response:
        assert await fares(Events(response), 2) == [0.0, 1.0]


async def test_unwanted_records_are_passed_and_their_place_is_told(looked: Looked) -> None:
    async with looked.client.get(TOPIC, params={"key": "c7"}) as response:
        events = Events(response)
        await events.next()
        before = events.id
        await ride(looked, 1)
        assert await events.next() == ("passed", {})
        assert events.id != before
        await ride(looked, 7)
        assert await fares(events, 1) == [7.0]


async def test_records_that_were_dropped_are_counted(looked: Looked) -> None:
    for n in range(4):
        await ride(looked, n)
    await looked.broker.purge({TopicPartition("rides", 0): 3})
    async with looked.client.get(TOPIC, headers={"Last-Event-ID": "0:1"}) as response:
        events = Events(response)
        await events.next()
        assert await fares(events, 1) == [3.0]
    found = await looked.get("/api/topics/rides/records", positions="0:1")
    assert found["skipped"] == 2


@pytest.mark.parametrize("last", ["x", "0", "0:1;1:2", "9:1"])
async def test_an_id_that_is_no_place_in_the_topic_is_refused(looked: Looked, last: str) -> None:
    async with looked.client.get(TOPIC, headers={"Last-Event-ID": last}) as response:
        assert response.status == 400


async def test_a_stop_ends_those_who_follow(looked: Looked) -> None:
    async with looked.client.get(TOPIC) as response:
        events = Events(response)
        await events.next()
        async with asyncio.timeout(5):
            await looked.server.stop()
        assert await events.next() == ("end", None)


# The journal against a naive one

commits = st.lists(st.dictionaries(st.integers(0, 8), st.integers(0, 99), min_size=1, max_size=6), max_size=8)


@settings(max_examples=80)
@given(commits, st.integers(1, 12), st.integers(0, 50))
def test_a_journal_tells_the_latest_of_each_key_or_that_it_cannot(
    history: list[dict[int, int]], bound: int, since: int
) -> None:
    async def live() -> None:
        tables = MemoryTables()
        tables.add("t", ("key",), {"value": "int"})
        journal = Journal(tables, "t", bound=bound)
        await journal.opened()
        told: list[Change] = []
        for rows in history:
            before = journal.last
            tables.put("t", *({"key": key, "value": value} for key, value in rows.items()))
            await journal.wait(before)
            told += [Change(key={"key": key}, row={"key": key, "value": value}) for key, value in rows.items()]
        wanted = {change.key["key"]: change.row for change in told[since:]}
        try:
            number, found = journal.since(since) if since <= journal.last else (journal.last, [])
        except ChangesMissed:
            assert len({change.key["key"] for change in told}) > bound
        else:
            assert number == journal.last == len(told)
            assert {change.key["key"]: change.row for change in found} == wanted
            assert len(found) == len(wanted)
        await journal.close()

    asyncio.run(live())
