"""The topics' API: which there are, their records from where one asks, filtered, one whole; never another app's."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flows
from flows.brokers.base import Broker, Outgoing, TopicPartition, TopicSpec
from flows.brokers.memory import MemoryBroker
from flows.run.reading import offsets_at
from tests.web.looked import Looked

NOON = 1_700_000_000.0


class Ride(flows.Record):
    city: str
    fare: float


def rides_app() -> flows.App:
    app = flows.App("rides-app")
    app.topic("rides", value=Ride, key="city", partitions=3)
    app.topic("packed", value=dict, codec="msgpack")
    app.topic("raw", value=bytes, codec="raw")
    return app


@pytest.fixture
async def looked(broker: Broker) -> AsyncIterator[Looked]:
    async with Looked(broker, rides_app()) as looked:
        for n in range(12):
            ride = {"city": f"city-{n}", "fare": float(n)}
            headers = (("trace", b"t-%d" % n), ("trace", b"again")) if n % 2 else ()
            await looked.put("rides", n % 3, (f"city-{n}", ride, NOON + n, headers))
        yield looked


def fares(found: Any) -> list[float]:
    return [record["value"]["fare"] for record in found["records"]]


async def test_the_topics_of_the_app_are_listed_and_no_others(looked: Looked) -> None:
    await looked.broker.create_topic(TopicSpec(name="payroll"))
    found = {topic["name"]: topic for topic in await looked.get("/api/topics")}
    assert set(found) == {"rides", "packed", "raw", "rides-app-dead-letters"}
    rides = found["rides"]
    assert (rides["kind"], rides["records"], rides["key"], rides["codec"]) == ("declared", 12, "city", "json")
    assert rides["partitions"] == [{"partition": p, "start": 0, "end": 4} for p in range(3)]
    assert found["rides-app-dead-letters"]["kind"] == "dead-letters"
    for path in ("/api/topics/payroll/records", "/api/topics/payroll/records/0/0", "/api/topics/x%2F..%2Fy/records"):
        assert "there is no topic" in (await looked.get(path, 404))["error"]


async def test_the_newest_come_by_themselves_in_order_of_time(looked: Looked) -> None:
    found = await looked.get("/api/topics/rides/records", limit=5)
    assert fares(found) == [7.0, 8.0, 9.0, 10.0, 11.0]
    assert (found["next"], found["ended"]) == ("0:4,1:4,2:4", True)
    record = found["records"][0]
    assert (record["partition"], record["offset"], record["timestamp"], record["key"]) == (1, 2, NOON + 7, "city-7")
    assert record["headers"] == [["trace", "t-7"], ["trace", "again"]]


async def test_all_can_be_read_in_steps_and_then_what_comes(looked: Looked) -> None:
    found = await looked.get("/api/topics/rides/records", **{"from": "oldest", "limit": 5})
    seen = fares(found)
    while not found["ended"]:
        found = await looked.get("/api/topics/rides/records", positions=found["next"], limit=5)
        seen += fares(found)
    assert sorted(seen) == [float(n) for n in range(12)]
    await looked.put("rides", 1, ("late", {"city": "late", "fare": 99.0}, NOON + 99))
    assert fares(await looked.get("/api/topics/rides/records", positions=found["next"])) == [99.0]


async def test_a_partition_a_time_and_texts_narrow_it(looked: Looked) -> None:
    path = "/api/topics/rides/records"
    assert fares(await looked.get(path, partition=2)) == [2.0, 5.0, 8.0, 11.0]
    assert fares(await looked.get(path, **{"from": NOON + 9})) == [9.0, 10.0, 11.0]
    assert fares(await looked.get(path, **{"from": NOON + 9, "partition": 1})) == [10.0]
    assert fares(await looked.get(path, key="city-1")) == [1.0, 10.0, 11.0]
    assert fares(await looked.get(path, value='"fare":4')) == [4.0]
    assert fares(await looked.get(path, header="trace: t-9")) == [9.0]
    assert fares(await looked.get(path, header="again", key="-1", **{"from": "oldest"})) == [1.0, 11.0]
    nothing = await looked.get(path, key="nowhere", **{"from": "oldest"})
    assert (nothing["records"], nothing["scanned"], nothing["ended"]) == ([], 12, True)


async def test_one_record_is_told_whole(looked: Looked) -> None:
    long = {"city": "x" * 10_000, "fare": 1.0}
    await looked.put("rides", 0, ("k", long, NOON + 50))
    listed = (await looked.get("/api/topics/rides/records"))["records"][-1]
    assert (listed["cut"], len(listed["value"])) == (True, 4096)
    whole = await looked.get("/api/topics/rides/records/0/4")
    assert (whole["cut"], whole["value"], whole["size"]) == (False, long, listed["size"])
    assert base64.b64decode(whole["raw_key"]) == b"k"
    for place in ("0/5", "3/0", "99/0"):
        assert "there is no record" in (await looked.get(f"/api/topics/rides/records/{place}", 404))["error"]


async def test_bytes_of_all_kinds_are_readable(looked: Looked) -> None:
    deep = b"[" * 500 + b"]" * 500
    await looked.put("raw", 0, (None, b"\xff\xfe", NOON), ("k", None, NOON + 1), ("k", deep, NOON + 2))
    hexed, tombstone, nested = (await looked.get("/api/topics/raw/records"))["records"]
    assert (hexed["key"], hexed["value"]) == (None, "0xfffe")
    assert tombstone["value"] is None
    assert nested["value"] == deep.decode()
    await looked.put("packed", 0, ("k", b"\x81\xa1n\xcd\xff\xff", NOON))
    assert (await looked.get("/api/topics/packed/records"))["records"][0]["value"] == {"n": 65535}


async def test_hostile_texts_stay_data(looked: Looked) -> None:
    evil = "<img src=x onerror=alert(1)>\r\nX-Evil: 1\u2028"
    await looked.put("rides", 0, (evil, {"city": evil, "fare": 0.0}, NOON + 60, ((evil, evil.encode()),)))
    found = (await looked.get("/api/topics/rides/records", key="<img"))["records"][0]
    assert (found["key"], found["value"]["city"], found["headers"]) == (evil, evil, [[evil, evil]])


async def test_offsets_that_are_gone_are_told(looked: Looked) -> None:
    await looked.broker.purge({TopicPartition("rides", 0): 3})
    found = await looked.get("/api/topics/rides/records", positions="0:0")
    assert (fares(found), found["skipped"]) == ([9.0], 3)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("from=yesterday", "expected newest, oldest, or seconds"),
        ("from=nan", "expected newest, oldest, or seconds"),
        ("partition=-1", "no whole number"),
        ("partition=3", "topic 'rides' has no partition 3; it has 0 to 2"),
        ("positions=0", "no whole number"),
        ("positions=0:1;2", "no whole number"),
        ("positions=7:1", "has no partition 7"),
        ("positions=0:1&from=oldest", "leave out from and partition"),
        ("limit=1001", "from 1 to 1000"),
        (f"key={'k' * 501}", "at most 500"),
        ("offset=3", "has no parameter 'offset'"),
    ],
)
async def test_a_wrong_question_is_told(looked: Looked, query: str, words: str) -> None:
    assert words in (await looked.get(f"/api/topics/rides/records?{query}", 400))["error"]


async def test_a_server_without_topics_says_so(client: Any) -> None:
    async with client.get("/api/topics") as response:
        assert (response.status, await response.json()) == (404, {"error": "this server knows no topics"})


@settings(max_examples=60)
@given(times=st.lists(st.integers(0, 50), max_size=40), wanted=st.integers(-1, 51), dropped=st.integers(0, 20))
def test_a_time_is_found_where_timestamps_ascend(times: list[int], wanted: int, dropped: int) -> None:
    async def find() -> None:
        broker, tp = MemoryBroker(markers=True), TopicPartition("t", 0)
        await broker.create_topic(TopicSpec(name="t"))
        for time in sorted(times):
            await broker.produce({tp: Outgoing([None], [b""], [time])})
        await broker.purge({tp: min(dropped, len(times))})
        starts, ends = await broker.start_offsets([tp]), await broker.end_offsets([tp])
        found = (await offsets_at(broker, starts, ends, wanted))[tp]
        ascending = sorted(times)
        assert found == max(starts[tp], next((n for n, t in enumerate(ascending) if t >= wanted), ends[tp]))

    asyncio.run(find())
