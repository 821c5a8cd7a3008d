"""`flows send` and `flows tail`: what goes in comes out, and what does not fit is told."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from flows.brokers.base import Headers, Outgoing, TopicPartition, TopicSpec
from flows.brokers.embedded import EmbeddedBroker
from flows.brokers.memory import MemoryBroker
from flows.route.partitioner import Partitioner
from flows.run.reading import read_records
from tests.cli.conftest import Run


def produce(folder: Path, topic: str, record: tuple[bytes | None, bytes | None, Headers]) -> None:
    """Append a record as a program that knows nothing of its type would."""

    async def append() -> None:
        broker = EmbeddedBroker(folder / ".flows" / "airport" / "broker")
        await broker.start()
        try:
            spec = TopicSpec(name=topic, partitions=2)
            await broker.create_topic(spec)
            out = Outgoing()
            out.append(record[0], record[1], 0, record[2])
            await broker.produce({TopicPartition(topic, Partitioner(2).of(record[0]) if record[0] else 0): out})
        finally:
            await broker.close()

    asyncio.run(append())


def tailed(run: Run, topic: str, limit: int, *more: str) -> list[dict[str, Any]]:
    shown = run("tail", topic, "--from-beginning", "--limit", str(limit), "--json", *more)
    assert shown.exit_code == 0, shown.output
    return [json.loads(line) for line in shown.stdout.splitlines()]


def test_a_record_is_checked_keyed_and_placed(airport: Path, run: Run) -> None:
    value = {"carrier": "UA", "delay": None, "at": 1357034400.0}
    shown = run("send", "departures", json.dumps(value), "--timestamp", "2013-01-01T10:00:00")
    assert (shown.exit_code, shown.stderr) == (0, "1 record sent to departures\n")
    (record,) = tailed(run, "departures", 1)
    assert record == {
        "topic": "departures",
        "partition": Partitioner(2).of(b"UA"),
        "offset": 0,
        "timestamp": 1357034400000,
        "key": "UA",
        "headers": {},
        "value": value,
    }


def test_lines_of_standard_input(airport: Path, run: Run) -> None:
    lines = [json.dumps({"carrier": c, "delay": i, "at": i}) for i, c in enumerate(["UA", "AA", "B6", "UA"])]
    shown = run("send", "departures", "-", stdin="\n\n".join(lines) + "\n")
    assert shown.stderr == "4 records sent to departures\n"
    found = tailed(run, "departures", 4)
    assert sorted(r["value"]["delay"] for r in found) == [0, 1, 2, 3]
    assert [r["value"]["delay"] for r in found if r["key"] == "UA"] == [0, 3]


def test_the_lines_before_a_wrong_one_are_sent_and_said_to_be(airport: Path, run: Run) -> None:
    good = json.dumps({"carrier": "UA", "delay": 1, "at": 1})
    shown = run("send", "departures", "-", stdin=f"{good}\n\n{good}\n" + '{"carrier": 7, "delay": 1, "at": 1}\n' + good)
    assert shown.exit_code == 1
    assert "line 4: topic 'departures' takes Departure: Expected `str`, got `int` - at `$.carrier`" in shown.stderr
    assert "(2 records before it were sent)" in shown.stderr
    assert len(tailed(run, "departures", 2)) == 2


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["departures", '{"carrier":"UA","delay":"x","at":1}'], 1, "Expected `float | null`, got `str` - at `$.delay`"),
        (["departures", '{"carrier":"UA"}'], 1, "missing required field `delay`"),
        (["departures", "UA"], 1, "JSON is malformed"),
        (["departures", '{"carrier":"UA","delay":1,"at":1}', "--key", "AA"], 1,
         "--key 'AA' is not the declared key, carrier = 'UA'; leave --key out"),
        (["departures", "null"], 1, "a tombstone (null) needs to know whose it is; give --key"),
        (["departures", "null", "--key", "UA", "--partition", "2"], 2, "no partition 2; it has 0 to 1"),
        (["departurs", "1"], 1, "there is no topic 'departurs'; did you mean 'departures'?"),
        (["alerts", "1", "--timestamp", "soon"], 2, "--timestamp 'soon' is no time"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(airport: Path, run: Run, args: list[str], code: int, words: str) -> None:
    shown = run("send", *args)
    assert shown.exit_code == code
    assert words in shown.stderr
    assert shown.stderr.count("\n") == 1


def test_topics_without_a_record(airport: Path, run: Run) -> None:
    assert run("send", "alerts", '{"a": [1]}', "--key", "k", "--partition", "1").exit_code == 0
    assert run("send", "texts", "plain text, no JSON").exit_code == 0
    assert run("send", "departures", "null", "--key", "UA").exit_code == 0
    (alert,) = tailed(run, "alerts", 1, "--partition", "1")
    assert (alert["key"], alert["value"], alert["partition"]) == ("k", {"a": [1]}, 1)
    (text,) = tailed(run, "texts", 1)
    assert (text["key"], text["value"]) == (None, "plain text, no JSON")
    (tombstone,) = tailed(run, "departures", 1)
    assert (tombstone["key"], tombstone["value"]) == ("UA", None)


def test_lines_for_people(airport: Path, run: Run) -> None:
    run("send", "alerts", '{"a":1}', "--timestamp", "0", "--partition", "0")
    shown = run("tail", "alerts", "--from-beginning", "--limit", "1")
    assert shown.stdout == 'alerts/0@0  1970-01-01 00:00:00.000Z  -  {"a":1}\n'


def test_a_dead_letter_tells_its_reason(airport: Path, run: Run) -> None:
    wrong = b'{"carrier": "UA"}'
    produce(airport, "departures", (b"UA", wrong, ()))
    assert run("worker", "--drain", "--web-port", "-1").exit_code == 0
    (record,) = tailed(run, "airport-dead-letters", 1)
    assert (record["key"], record["value"], record["partition"], record["offset"]) == ("UA", {"carrier": "UA"}, 0, 0)
    headers = record["headers"]
    reason = "not a valid Departure: Object missing required field `delay`"
    assert {n: headers[n] for n in ("reason", "topic", "offset")} == {
        "reason": reason,
        "topic": "departures",
        "offset": "0",
    }
    lines = run("tail", "airport-dead-letters", "--from-beginning", "--no-follow").stdout.splitlines()
    assert lines[0].endswith('  UA  {"carrier": "UA"}')
    assert lines[1:4] == [f"    reason: {reason}", "    step: departures", "    topic: departures"]


def test_headers_of_every_kind(airport: Path, run: Run) -> None:
    produce(airport, "alerts", (None, b"1", (("trace", b"a\nb"), ("twice", b"1"), ("twice", b"2"), ("raw", b"\xc1"))))
    produce(airport, "alerts", (None, b"2", ()))
    headers = [r["headers"] for r in tailed(run, "alerts", 2)]
    assert headers == [{"trace": "a\nb", "twice": ["1", "2"], "raw": "0xc1"}, {}]
    shown = run("tail", "alerts", "--from-beginning", "--no-follow").stdout.splitlines()
    assert shown[1:5] == ["    trace: a\\nb", "    twice: 1", "    twice: 2", "    raw: 0xc1"]
    assert len(shown) == 6


def test_no_follow_stops_at_the_end_that_the_topic_had(airport: Path, run: Run) -> None:
    for n in range(5):
        run("send", "alerts", str(n), "--partition", str(n % 2))
    shown = run("tail", "alerts", "--from-beginning", "--no-follow", "--json")
    assert shown.exit_code == 0
    assert sorted(json.loads(line)["value"] for line in shown.stdout.splitlines()) == [0, 1, 2, 3, 4]
    one = run("tail", "alerts", "--from-beginning", "--no-follow", "--partition", "1", "--json")
    assert [json.loads(line)["value"] for line in one.stdout.splitlines()] == [1, 3]
    assert len(run("tail", "alerts", "--from-beginning", "--no-follow", "--limit", "3").stdout.splitlines()) == 3


async def test_records_that_come_meanwhile_are_left_out() -> None:
    broker = MemoryBroker()
    await broker.create_topic(TopicSpec(name="t"))
    tp = TopicPartition("t", 0)
    await broker.produce({tp: Outgoing([None] * 3, [b"0", b"1", b"2"], [0] * 3)})
    found = [list(r.values) async for r in read_records(broker, {tp: 0}, {tp: 2}, None)]
    assert found == [[b"0", b"1"]]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["tail", "departures", "--limit", "1"], "there are no data at embedded:///"),
        (["query", "SELECT 1"], "there are no data at embedded:///"),
    ],
)
def test_looking_creates_nothing(airport: Path, run: Run, args: list[str], words: str) -> None:
    shown = run(*args)
    assert shown.exit_code == 1
    assert words in shown.stderr
    assert not (airport / ".flows").exists()


def test_an_unknown_topic_or_partition(airport: Path, run: Run) -> None:
    run("send", "alerts", "1")
    assert "there is no topic 'alrts'; did you mean 'alerts'?" in run("tail", "alrts").stderr
    shown = run("tail", "alerts", "--partition", "7")
    assert shown.exit_code == 2
    assert "topic 'alerts' has no partition 7; it has 0 to 1" in shown.stderr
    shown = run("tail", "alerts", "--no-follow")
    assert (shown.exit_code, "add --from-beginning" in shown.stderr) == (2, True)
