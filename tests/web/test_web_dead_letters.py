"""Dead letters by the API: told with reason and origin, driven again once each, whoever asks, however it fails."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession
from hypothesis import given, settings
from hypothesis import strategies as st

import flows
from flows.brokers.base import Broker, Producer, TopicPartition, Transaction
from flows.brokers.memory import MemoryBroker
from flows.errors import BrokerUnavailable, Fenced, FlowsError, OutcomeUnknown
from flows.run.redrive import Offsets
from flows.run.worker import Worker
from flows.settings import Settings
from tests.web.gates import read_topic, until
from tests.web.looked import Looked, as_records

LETTERS, REDRIVE = "/api/dead-letters", "/api/dead-letters/redrive"


def till() -> flows.App:
    app = flows.App("till")
    orders = app.topic("orders", value=dict, partitions=2)

    @app.agent(orders)
    async def read(stream: AsyncIterator[Any]) -> None:
        async for _ in stream:
            pass

    return app


@pytest.fixture
async def looked(broker: Broker) -> AsyncIterator[Looked]:
    async with Looked(broker, till()) as looked:
        yield looked


async def filled(looked: Looked, count: int = 4) -> None:
    values = [msgspec.json.encode({"n": n}) for n in range(count)]
    records = as_records("orders", 1, values, (("trace", b"abc"),), first=10)
    await looked.refuse(records, range(count), "parse", "ZeroDivisionError: division by zero")


async def test_a_letter_tells_why_and_from_where(looked: Looked) -> None:
    await filled(looked)
    found = await looked.get(LETTERS)
    assert (found["total"], found["redriven"], found["before"]) == (4, 0, None)
    assert [letter["offset"] for letter in found["letters"]] == [3, 2, 1, 0]
    assert found["letters"][3] == {
        "offset": 0,
        "at": 1_700_000_000.0,
        "reason": "ZeroDivisionError: division by zero",
        "step": "parse",
        "topic": "orders",
        "partition": 1,
        "original_offset": 10,
        "original_timestamp": 1_600_000_000.0,
        "key": "key-0",
        "value": {"n": 0},
        "headers": [["trace", "abc"]],
        "cut": False,
        "truncated": False,
        "redriven": False,
    }


async def test_letters_are_listed_in_pages_and_by_what_they_say(looked: Looked) -> None:
    await filled(looked, 3)
    await looked.refuse(as_records("orders", 0, [b"{"]), [0], "orders", "malformed")
    page = await looked.get(LETTERS, limit=3)
    assert ([letter["offset"] for letter in page["letters"]], page["before"]) == ([3, 2, 1], 1)
    rest = await looked.get(LETTERS, limit=3, before=page["before"])
    assert ([letter["offset"] for letter in rest["letters"]], rest["before"]) == ([0], None)
    for query in ({"step": "orders"}, {"reason": "malf"}, {"topic": "orders", "reason": "formed"}):
        assert [letter["offset"] for letter in (await looked.get(LETTERS, **query))["letters"]] == [3]
    assert (await looked.get(LETTERS, topic="elsewhere"))["letters"] == []


async def test_one_goes_back_as_it_was_and_only_once(looked: Looked) -> None:
    await filled(looked)
    assert await looked.post(REDRIVE, {"offsets": [2]}) == {"redriven": 1, "before": 0, "left": []}
    assert await looked.post(REDRIVE, {"offsets": [2, 2, 99]}) == {"redriven": 0, "before": 1, "left": []}
    (records,) = await read_topic(looked.broker, "orders")
    assert records.tp == TopicPartition("orders", 1)
    assert (records.keys, records.values) == ([b"key-2"], [b'{"n":2}'])
    assert records.timestamps == [1_600_000_000_002]
    assert records.headers is not None
    assert list(records.headers) == [(("trace", b"abc"), ("redriven", b"2"))]
    found = await looked.get(LETTERS)
    assert [letter["redriven"] for letter in found["letters"]] == [False, True, False, False]
    waiting = await looked.get(LETTERS, waiting=1)
    assert ([letter["offset"] for letter in waiting["letters"]], waiting["redriven"]) == ([3, 1, 0], 1)


async def test_all_that_were_seen_go_back_and_no_others(looked: Looked) -> None:
    await filled(looked, 1200)
    seen = (await looked.get(LETTERS))["total"]
    await looked.refuse(as_records("orders", 0, [b"{"]), [0], "orders", "malformed")
    assert (await looked.post(REDRIVE, {"offsets": [5]}))["redriven"] == 1
    assert await looked.post(REDRIVE, {"all": True, "until": seen}) == {"redriven": 1199, "before": 1, "left": []}
    there = [v for records in await read_topic(looked.broker, "orders") for v in records.values]
    assert sorted(there) == sorted(msgspec.json.encode({"n": n}) for n in range(1200))
    assert (await looked.get(LETTERS))["redriven"] == 1200
    assert (await looked.post(REDRIVE, {"all": True, "until": 9999, "step": "parse"}))["redriven"] == 0


async def test_one_that_cannot_go_back_says_why(looked: Looked) -> None:
    await looked.refuse(as_records("orders", 0, [b"x" * 950_000]), [0], "parse", "too much")
    await looked.refuse(as_records("orders", 9, [b"{}"]), [0], "parse", "no such partition")
    await looked.refuse(as_records("payroll", 0, [b"{}"]), [0], "parse", "forged")
    await looked.put("till-dead-letters", 0, ("k", b"no letter", 1.0))
    found = await looked.post(REDRIVE, {"all": True, "until": 4})
    assert found["redriven"] == 0
    assert [left["reason"] for left in found["left"]] == [
        "its value was cut; the whole is at orders/0@0",
        "the topic 'orders' has no partition 9",
        "the app does not read the topic 'payroll'",
        "the app does not read the topic ''",
    ]
    assert await read_topic(looked.broker, "orders") == []


@pytest.mark.parametrize(
    "body",
    [{}, {"all": True}, {"all": True, "offsets": [1], "until": 2}, {"offsets": []}, {"offsets": [-1]}, {"offset": [1]},
     {"offsets": list(range(1001))}, [], None, {"offsets": [2**63]}, {"offsets": ["1"]}],
)  # fmt: skip
async def test_a_wrong_question_does_nothing(looked: Looked, body: Any) -> None:
    await filled(looked)
    assert "expected" in (await looked.post(REDRIVE, body, 400))["error"]
    assert await read_topic(looked.broker, "orders") == []


async def test_a_form_of_another_site_cannot_drive(looked: Looked) -> None:
    await filled(looked)
    for headers in ({"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}):
        await looked.post(REDRIVE, {"all": True, "until": 9}, 415, **headers)
    await looked.post(REDRIVE, {"all": True, "until": 9}, 403, Origin="https://evil.example")
    await looked.get(REDRIVE, 405)
    assert await read_topic(looked.broker, "orders") == []


async def test_after_a_fix_they_are_processed(tmp_path: Path) -> None:
    """A real worker: an agent fails, is mended, and the button puts it right."""

    def app(broken: bool) -> flows.App:
        app = flows.App("shop")
        raw, good = app.topic("raw", value=dict), app.topic("good", value=dict)

        @app.agent(raw, sink=[good], retries=0)
        async def parse(stream: AsyncIterator[Any]) -> AsyncIterator[Any]:
            async for message in stream:
                if broken:
                    raise ValueError(f"not today: {message['n']}")
                yield message

        return app

    async def run(broken: bool, work: Any) -> None:
        worker = Worker(app(broken), Settings(data=tmp_path / "data", web_port=0))
        running = asyncio.create_task(worker.run())
        try:
            await until(lambda: worker.ready or running.done(), "the worker")
            async with ClientSession(worker.address) as client:
                await work(client)
        finally:
            worker.stop()
            await running

    async def ask(client: ClientSession, path: str, body: Any = None) -> Any:
        method = "GET" if body is None else "POST"
        async with client.request(method, path, json=body) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def wait_for(client: ClientSession, path: str, count: int) -> Any:
        async with asyncio.timeout(30):
            while True:
                found = await ask(client, path)
                if len(found.get("letters", found.get("records"))) == count:
                    return found
                await asyncio.sleep(0.02)

    async def fail(client: ClientSession) -> None:
        await ask(client, "/topics/raw", [{"n": n} for n in range(3)])
        found = await wait_for(client, LETTERS, 3)
        assert {letter["reason"] for letter in found["letters"]} >= {"ValueError: not today: 2 (1 attempts)"}

    async def mend(client: ClientSession) -> None:
        assert (await ask(client, REDRIVE, {"all": True, "until": 3}))["redriven"] == 3
        found = await wait_for(client, "/api/topics/good/records", 3)
        assert sorted(record["value"]["n"] for record in found["records"]) == [0, 1, 2]
        assert (await ask(client, LETTERS))["redriven"] == 3

    await run(True, fail)
    await run(False, mend)


FATES = ("well", "lost after", "lost before", "away", "fenced after", "fenced before")


class Faulty(MemoryBroker):
    """A broker whose commits meet the fates that are left."""

    def __init__(self, fates: list[str]) -> None:
        super().__init__(markers=True)
        self.fates = fates

    async def producer(self, transactional_id: str, **more: Any) -> Producer:
        return _Fated(await super().producer(transactional_id, **more), self)


class _Fated:
    def __init__(self, producer: Producer, broker: Faulty) -> None:
        self._producer, self._broker = producer, broker

    async def commit(self, transaction: Transaction) -> dict[TopicPartition, int]:
        fate = self._broker.fates.pop(0) if self._broker.fates else "well"
        await asyncio.sleep(0)
        if fate == "away":
            raise BrokerUnavailable("the broker is away")
        ends = {} if fate.endswith("before") else await self._producer.commit(transaction)
        await asyncio.sleep(0)
        if fate != "well":
            raise Fenced("taken") if fate.startswith("fenced") else OutcomeUnknown("lost")
        return ends

    async def close(self) -> None:
        await self._producer.close()


asks = st.lists(
    st.tuples(st.integers(0, 1), st.one_of(st.none(), st.lists(st.integers(0, 5), min_size=1, max_size=4))), max_size=8
)


@settings(max_examples=60)
@given(histories=st.lists(asks, max_size=4), fates=st.lists(st.sampled_from(FATES), max_size=8))
def test_each_goes_back_once_whoever_asks_and_however_it_fails(histories: list[Any], fates: list[str]) -> None:
    """Two workers that are asked at the same time, and commits of unknown fate."""

    async def live() -> None:
        broker = Faulty(list(fates))
        one, other = Looked(broker, till()), Looked(broker, till())
        async with one:
            await filled(one, 6)
            both, asked = (one.topics, other.topics), set()
            for history in histories:
                work = [both[who].redrive(which if which is not None else list(range(6))) for who, which in history]
                asked |= {n for _, which in history for n in (range(6) if which is None else which)}
                for result in await asyncio.gather(*work, return_exceptions=True):
                    assert not isinstance(result, BaseException) or isinstance(result, FlowsError)
                there = await values(broker)
                assert max(there.values(), default=1) == 1
                assert set(there) <= {msgspec.json.encode({"n": n}) for n in asked}
            broker.fates.clear()
            await one.topics.redrive(list(range(6)))
            assert await values(broker) == Counter(msgspec.json.encode({"n": n}) for n in range(6))
            assert (await one.get(LETTERS))["redriven"] == 6

    asyncio.run(live())


async def values(broker: Broker) -> Counter[bytes]:
    return Counter(v for records in await read_topic(broker, "orders") for v in records.values if v is not None)


@given(st.lists(st.lists(st.integers(0, 30), max_size=6), max_size=6))
def test_offsets_are_a_set(parts: list[list[int]]) -> None:
    found, wanted = Offsets(), set[int]()
    for part in parts:
        found.add(part)
        wanted |= set(part)
    assert len(found) == len(wanted)
    assert [n in found for n in range(-1, 32)] == [n in wanted for n in range(-1, 32)]
