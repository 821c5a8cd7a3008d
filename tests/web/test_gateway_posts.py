"""`POST /topics/NAME`: what is written of which body, what is refused and how it is told."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from flows.brokers.base import Broker
from tests.web.gates import Gate, ride, rides_app, values


@pytest.fixture
async def gate(broker: Broker) -> AsyncIterator[Gate]:
    async with Gate(broker, rides_app(), rows=100, body=64 * 1024) as gate:
        yield gate


def lines(*found: Any) -> bytes:
    return b"".join(msgspec.json.encode(each) + b"\n" for each in found)


async def test_one_event(gate: Gate) -> None:
    assert await gate.post(ride(1)) == (200, {"topic": "gates-rides", "records": 1, "duplicate": False})
    (records,) = await gate.written()
    assert records.keys == [b"city-1"]
    assert msgspec.json.decode(records.values[0] or b"") == ride(1)


@pytest.mark.parametrize("count", [0, 1, 100])
@pytest.mark.parametrize("kind", ["json", "lines"])
async def test_many_events(gate: Gate, kind: str, count: int) -> None:
    rides = [ride(n) for n in range(count)]
    status, answer = await gate.post(lines(*rides) if kind == "lines" else rides, kind=kind)
    assert (status, answer["records"]) == (200, count)
    assert await gate.fares() == [float(n) for n in range(count)]


async def test_records_lie_where_their_key_belongs(gate: Gate) -> None:
    await gate.post([ride(n) for n in range(70)])
    places = {key: records.tp.partition for records in await gate.written() for key in records.keys}
    assert len(set(places.values())) > 1
    assert sum(len(records) for records in await gate.written()) == 70


@pytest.mark.parametrize("kind", ["json", "lines"])
async def test_gzip(gate: Gate, kind: str) -> None:
    body = lines(ride(1), ride(2)) if kind == "lines" else msgspec.json.encode([ride(1), ride(2)])
    packed = gzip.compress(body[:20]) + gzip.compress(body[20:])  # of two members, as pigz and appenders make it
    assert (await gate.post(packed, kind=kind, Content_Encoding="gzip"))[0] == 200
    assert await gate.fares() == [1.0, 2.0]


async def test_lines_may_be_empty_or_end_as_on_windows(gate: Gate) -> None:
    body = b"\n" + msgspec.json.encode(ride(1)) + b"\r\n\r\n" + msgspec.json.encode(ride(2))
    assert (await gate.post(body, kind="lines"))[1]["records"] == 2


@pytest.mark.parametrize(("headers", "query"), [({"Flows_Key": "k"}, ""), ({}, "?key=k"), ({}, "?key_field=who")])
async def test_the_key_by_header_query_and_field(gate: Gate, headers: dict[str, str], query: str) -> None:
    assert (await gate.post([{"who": "k"}, {"who": "k"}], "notes", query=query, **headers))[0] == 200
    (records,) = await gate.written("notes")
    assert records.keys == [b"k", b"k"]


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"Flows_Timestamp": "1357016400.5"}, ""),
        ({}, "?timestamp=2013-01-01T05:00:00.5"),
        ({}, "?timestamp=2013-01-01T06:00:00.5%2B01:00"),
        ({}, "?timestamp_field=when"),
    ],
)
async def test_the_timestamp_by_header_query_and_field(gate: Gate, headers: dict[str, str], query: str) -> None:
    assert (await gate.post({"when": "2013-01-01T05:00:00.5Z"}, "notes", query=query, **headers))[0] == 200
    assert [records.timestamps for records in await gate.written("notes")] == [[1_357_016_400_500]]


async def test_bytes_as_they_are(gate: Gate) -> None:
    assert (await gate.post(b"\x00\xff\n", "lines", kind="bytes"))[0] == 200
    assert (await gate.post(b"one\ntwo\n", "lines", kind="lines"))[1]["records"] == 2
    assert values(await gate.written("lines")) == [b"\x00\xff\n", b"one", b"two"]


async def test_a_tombstone_needs_a_key(gate: Gate) -> None:
    status, answer = await gate.post(b"null", "notes")
    assert (status, answer["errors"][0]["error"]) == (
        422,
        "a tombstone (null) needs to know whose it is; give the key",
    )
    assert (await gate.post(b"null", "notes", query="?key=a"))[0] == 200
    (records,) = await gate.written("notes")
    assert (records.keys, records.values) == ([b"a"], [None])


async def test_all_or_nothing_with_errors_by_line(gate: Gate) -> None:
    wrong = lines(ride(1), ride(2, fare="dear"), ride(3)) + b"{\n" + lines({"city": 5})
    status, answer = await gate.post(wrong, kind="lines")
    assert (status, answer["error"]) == (422, "3 of 5 events do not fit; nothing was written")
    assert [each["line"] for each in answer["errors"]] == [2, 4, 5]
    assert "Expected `float | null`, got `str` - at `$.fare`" in answer["errors"][0]["error"]
    assert await gate.written() == []


async def test_errors_of_an_array_go_by_place(gate: Gate) -> None:
    status, answer = await gate.post([ride(1), {}, ride(3)])
    assert (status, [each["line"] for each in answer["errors"]]) == (422, [2])


async def test_those_that_fit_where_that_is_asked_for(gate: Gate) -> None:
    status, answer = await gate.post(lines(ride(1), {}, ride(3)), kind="lines", query="?on_error=skip")
    assert (status, answer["records"], answer["refused"], answer["errors"][0]["line"]) == (200, 2, 1, 2)
    assert await gate.fares() == [1.0, 3.0]
    assert (await gate.post(lines({}), kind="lines", query="?on_error=skip"))[0] == 422


@pytest.mark.parametrize(
    ("query", "headers", "words"),
    [
        ("?kye=a", {}, "?kye= is not known"),
        ("?key=a&key=b", {}, "there twice"),
        ("?key=a", {"Flows_Key": "b"}, "the key is told twice"),
        ("?timestamp=soon", {}, "timestamp 'soon' is no time"),
        ("?timestamp=nan", {}, "is no time"),
        ("?timestamp=1e300", {}, "is no time"),
        ("?on_error=shrug", {}, "expected reject or skip"),
        ("", {"Idempotency_Key": " "}, "Idempotency-Key must be one text"),
        ("", {"Idempotency_Key": "x" * 256}, "Idempotency-Key must be one text"),
    ],
)
async def test_wrong_options_are_told(gate: Gate, query: str, headers: dict[str, str], words: str) -> None:
    status, answer = await gate.post({}, "notes", query=query, **headers)
    assert status == 400
    assert words in answer["error"]
    assert await gate.written("notes") == []


async def test_a_key_that_is_not_the_declared_one_is_refused(gate: Gate) -> None:
    status, answer = await gate.post(ride(1), query="?key=elsewhere")
    assert status == 422
    assert "is not the declared key, city = 'city-1'" in answer["errors"][0]["error"]


async def test_the_buffer_is_given_back(gate: Gate) -> None:
    for body in (ride(1), {"city": 1}, b"[", b"x" * 70_000):
        await gate.post(body)
    assert gate.gateway.budget.used == 0


async def test_a_full_buffer_says_when_to_come_again(broker: Broker) -> None:
    async with Gate(broker, rides_app(), buffer=1000) as gate:
        async with gate.client.post(
            "/topics/gates-notes", data=b'{"a": "%b"}' % (b"x" * 2000), headers={"Content-Type": "application/json"}
        ) as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "1")
        assert (await gate.post({"a": 1}, "notes"))[0] == 200


@pytest.mark.parametrize("name", ["gates-dear", "gates-dead-letters", "gates-gateway-keys", "gates-by_city-changelog"])
async def test_only_declared_topics_that_the_app_does_not_write_are_taken(gate: Gate, name: str) -> None:
    headers = {"Content-Type": "application/json"}
    async with gate.client.post(f"/topics/{name}", data=b"{}", headers=headers) as response:
        assert response.status == 404
        assert "those that do: gates-lines, gates-notes, gates-rides" in (await response.json())["error"]


async def test_topics_may_be_chosen(broker: Broker) -> None:
    async with Gate(broker, rides_app(), topics="gates-dear") as gate:
        assert (await gate.post({}, "dear"))[0] == 200
        assert (await gate.post({}, "notes"))[0] == 404


async def test_a_record_that_is_too_large_is_told_before_it_is_written(broker: Broker) -> None:
    async with Gate(broker, rides_app()) as gate:
        status, answer = await gate.post([{"a": 1}, {"a": "x" * 1_100_000}], "notes")
        assert (status, answer["errors"][0]["line"]) == (422, 2)
        assert "more than 1000000" in answer["errors"][0]["error"]


async def test_health_asks_the_broker(gate: Gate) -> None:
    async with gate.client.get("/health/live") as response:
        assert response.status == 200
    async with gate.client.get("/health/ready") as response:
        assert (response.status, await response.json()) == (200, {"ready": True, "state": "running"})


async def test_metrics_tell_what_was_done(gate: Gate) -> None:
    await gate.post([ride(1), ride(2)], Idempotency_Key="one")
    await gate.post([ride(1), ride(2)], Idempotency_Key="one")
    await gate.post({"city": 1})
    async with gate.client.get("/metrics") as response:
        text = await response.text()
    for line in (
        'flows_gateway_requests_total{status="200",topic="gates-rides"} 2.0',
        'flows_gateway_events_total{topic="gates-rides"} 2.0',
        'flows_gateway_duplicate_requests_total{topic="gates-rides"} 1.0',
        'flows_gateway_refused_events_total{topic="gates-rides"} 1.0',
        "flows_gateway_keys 1.0",
        "flows_gateway_answer_seconds_count 2.0",
    ):
        assert line in text
