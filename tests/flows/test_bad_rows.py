"""Keys that are not what they claim, rows too large, and values that functions and topics refuse: one by one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import flows
from flows import arg_min, col, collect, count, last, top_k, tumbling
from flows.brokers.memory import MemoryBroker
from flows.errors import FlowsError, RecordTooLarge
from flows.testing import Driver
from tests.flows.bad_events import NOW, Event, setup


def test_a_key_that_is_not_the_declared_field_is_refused() -> None:
    app = flows.App("bad")
    events = app.topic("events", value=Event, key="user", timestamp="at")
    table = events.group_by("user").agg(n=count()).table("n")
    with app.test() as t:
        with t.batch():
            t.send(events, Event("a"))
            t.send(events, Event("a"), key="b")
            t.send(events, Event("b"), key=b"\xff\x00")
            t.send(events, Event(None))
        assert t.table(table).rows() == [{"user": "a", "n": 1}]
        assert [d.reason for d in t.dead_letters()] == [
            "message key b'b' is not the declared key field 'user', b'a'",
            "message key b'\\xff\\x00' is not the declared key field 'user', b'b'",
            "null key 'user' for n",
        ]


@pytest.mark.parametrize("batch", [1, 37, 500])
def test_a_producer_that_keys_otherwise_stops_the_task_after_a_hundred(batch: int) -> None:
    app = flows.App("bad")
    events = app.topic("events", value=Event, key="user", timestamp="at")
    events.group_by("user").agg(n=count()).table("n")

    def send_batch(t: Any) -> None:
        with t.batch():
            for _ in range(batch):
                t.send(events, Event("a"), key="b")

    with app.test() as t:
        for _ in range(99 // batch):
            send_batch(t)
        assert len(t.dead_letters()) == 99 // batch * batch
        with pytest.raises(FlowsError, match="none of 100 records is keyed by the declared key='user'"):
            send_batch(t)


@pytest.mark.parametrize("batch", [1, 37, 500])
def test_one_right_key_among_the_first_hundred_is_proof(batch: int) -> None:
    app = flows.App("bad")
    events = app.topic("events", value=Event, key="user", timestamp="at")
    table = events.group_by("user").agg(n=count()).table("n")
    sent = [Event("a") if i == 99 else Event("b") for i in range(300)]
    with app.test() as t:
        for i in range(0, len(sent), batch):
            with t.batch():
                for event in sent[i : i + batch]:
                    t.send(events, event, key="a")
        assert t.table(table).rows() == [{"user": "a", "n": 1}]
        assert len(t.dead_letters()) == 299


def test_integers_beyond_64_bits_as_keys() -> None:
    class Numbered(flows.Record):
        id: int

    app = flows.App("bad")
    events = app.topic("events", value=Numbered, key="id")
    table = events.group_by("id").agg(n=count()).table("n")
    with app.test() as t:
        t.send(events, b'{"id": %d}' % 2**64)
        t.send(events, Numbered(2**63 - 1))
        assert t.table(table).rows() == [{"id": 2**63 - 1, "n": 1}]
        assert "does not fit into 64 bits" in t.dead_letters()[0].reason


def test_a_refused_record_goes_by_its_topics_on_error() -> None:
    app, events, table, _ = setup(on_error="skip")
    with app.test(now=NOW) as t:
        t.send(events, b"not json")
        t.send(events, {"user": "a", "n": 1, "at": NOW + 9999})
        t.send(events, {"user": "a", "n": 1, "at": NOW})
        assert t.dead_letters() == []
        assert [r["n"] for r in t.table(table).rows()] == [1]
        assert t.metrics.refused[("events", "skip")] == 2
    app, events, table, _ = setup(on_error="stop")
    with app.test(now=NOW) as t:
        t.send(events, {"user": "a", "n": 1, "at": NOW})
        with pytest.raises(FlowsError, match=r"events: record events/0/1 refused: not a valid Event: .*; mend the"):
            t.send(events, b"not json")
        assert [r["n"] for r in t.table(table).rows()] == [1]


def test_large_values() -> None:
    app, events, table, out = setup()
    with app.test(now=NOW) as t:
        t.send(events, {"user": "a", "at": 5.0, "text": "x" * 900_000})
        t.send(events, b'{"user": "a", "at": 5, "extra": "' + b"x" * 900_000 + b'"}')
        with pytest.raises(RecordTooLarge, match="a record of 20000"):
            t.send(events, {"user": "a", "at": 5.0, "text": "x" * 2_000_000})
        t.send(events, b"x" * 999_000)
        (dead,) = t.dead_letters()
        assert dead.value == b"x" * 450_000
        assert len(t.output(out)) == 2
        (row,) = t.table(table).rows()
        assert (row["events"], len(row["text"])) == (2, 0)


def test_texts_that_grow_past_a_record_are_refused_before_the_commit() -> None:
    app = flows.App("bad")
    events = app.topic("events", value=Event, key="user", timestamp="at", codec="msgpack")
    table = events.group_by("user").agg(a=last("text"), b=last("user")).table("both")
    twice = events.select(user=col("text"), at=col("at"), copy=col("text")).group_by("user").agg(c=last("copy"))
    other = twice.table("twice")
    changes = app.topic("changes", value=dict)
    table.to(changes)
    with app.test(now=NOW) as t:
        t.send(events, Event("u", text="x" * 600_000))
        assert sorted(d.reason for d in t.dead_letters()) == [
            "a's value for both has 600000 bytes, more than 478616",
            "key 'user' for twice.group_by has 600000 bytes, more than 32768",
        ]
        t.send(events, Event("u", text="\x01" * 400_000))
        t.send(events, Event("u", text="fine"))
        assert [(r["user"], r["a"]) for r in t.table(table).rows()] == [("u", "fine")]
        assert [r["user"] for r in t.table(other).rows()] == ["fine"]
        assert [r.value["a"] for r in t.output(changes)] == ["fine"]
        assert any(d.step == "both.to" and "a record of 24" in d.reason for d in t.dead_letters())
        t.crash()
        assert [(r["user"], r["a"]) for r in t.table(table).rows()] == [("u", "fine")]


def test_texts_in_lists_share_the_room_of_a_row() -> None:
    app = flows.App("bad")
    events = app.topic("events", value=Event, key="user", timestamp="at")
    table = events.group_by("user").agg(all=collect("text", 100), top=top_k("text"), low=arg_min("at", by="text"))
    texts = table.table("texts")
    with app.test(now=NOW) as t:
        t.send(events, Event("u", text="x" * 4000))
        assert [d.reason for d in t.dead_letters()] == [
            "all's value for texts has 4000 bytes, more than 3190",
        ]
        with t.batch():
            for place in range(1100):
                t.send(events, Event("u", text=f"{place:0300}"))
        (row,) = t.table(texts).rows()
        assert len(row["all"]) == 100
        assert row["top"] == []
        assert row["low"] == Event("u").at


def test_what_a_function_returns_is_checked() -> None:
    app, events, _, out = setup()

    def shape(event: Event) -> Event | None:
        if event.n == 1:
            return Event("a", n="one")  # type: ignore[arg-type]
        if event.n == 2:
            return {"user": "a"}  # type: ignore[return-value]
        if event.n == 3:
            raise KeyError("three")
        if event.n == 4:
            return None
        if event.n == 5:
            return Event("a", n=2**70)
        return event

    table = events.map(shape).group_by("user").window(tumbling("1h")).agg(n=count()).table("mapped")
    with app.test(now=NOW) as t:
        with t.batch():
            for n in range(7):
                t.send(events, Event("a", n=n))
        assert [r["n"] for r in t.table(table).rows()] == [2]
        assert [(d.step, d.offset, d.reason) for d in t.dead_letters()] == [
            ("events.map", 2, "returned dict, expected Event or None"),
            ("events.map", 3, "KeyError: 'three'"),
            ("events.map", 1, "returned n='one', which is no Int64"),
            ("events.map", 5, f"returned n={2**70}, which is no Int64"),
        ]
        assert len(t.output(out)) == 7


def test_what_a_topic_refuses_of_a_stream_is_dead_lettered() -> None:
    class Named(flows.Record):
        user: str
        n: int = 0

    app, events, _, _ = setup()
    named = app.topic("named", value=Named, key="user")
    packed = app.topic("packed", value=dict, codec="msgpack")
    events.to(named)
    plain = app.topic("plain", value=Event)

    @app.agent(plain, sink=[packed])
    async def pack(stream):
        async for event in stream:
            yield {"n": event.n}

    with app.test(now=NOW) as t:
        t.send(events, {"user": None})
        t.send(events, {"user": "a"}, key="other")
        t.send(plain, Event("a", n=2**70))
        t.send(plain, Event("a", n=1))
        (record,) = t.output(named)
        assert (record.key, record.value) == ("a", Named("a"))
        assert [r.value for r in t.output(packed)] == [{"n": 1}]
        reasons = [d.reason for d in t.dead_letters()]
        assert any("got `null` - at `$.user`" in r for r in reasons)
        assert any("can't serialize ints" in r for r in reasons)


def test_packed_and_nested_values() -> None:
    class Nested(flows.Record):
        user: str
        inner: dict[str, list[float]]
        at: float

    app = flows.App("bad")
    events = app.topic("events", value=Nested, key="user", timestamp="at", codec="msgpack")
    table = events.window(tumbling("10s")).agg(n=count()).table("n")
    with app.test(now=NOW) as t:
        t.send(events, Nested("a", {"x": [1.0]}, 100.0))
        t.send(events, Nested("a", {"x": [2.0]}, 5.0))
        t.send(events, b"\xc1")
        for at in (float("nan"), float("inf"), -float("inf")):
            t.send(events, msgspec.msgpack.encode(Nested("a", {}, at)), key="a")
        (late,) = t.late(table)
        assert (late.key, late.value, late.windows) == ("a", {"user": "a", "inner": {"x": [2.0]}, "at": 5.0}, [0.0])
        assert len(t.dead_letters()) == 4
        assert [r["n"] for r in t.table(table).rows()] == [1]


def test_a_row_that_outgrows_a_record_is_named() -> None:
    app = flows.App("bad")
    events = app.topic("events", value=Event, key="user")
    digits = {f"d{n}": flows.approx_distinct("n", precision=18 - n) for n in range(3)}
    table = events.group_by("user").agg(**digits).table("t")

    def send_batch(t: Driver) -> None:
        with t.batch():
            for n in range(40_000):
                t.send(events, Event("a", n=n))

    with Driver(app, broker=MemoryBroker(max_record_bytes=100_000)) as t:
        t.send(events, Event("a"))
        told = (
            r"table 't': the row of \{'user': 'a'\} has grown to .* more than a record may have \(100000\); keep less"
        )
        with pytest.raises(RecordTooLarge, match=told):
            send_batch(t)
        assert [r["d0"] for r in t.table(table).rows()] == [1]


def test_a_record_too_large_for_take_to_keep_names_the_agent() -> None:
    app = flows.App("bad")
    events = app.topic("events", value=Event, key="user")

    @app.agent(events.with_columns(copy=col("text"), again=col("text")))
    async def gather(stream: Any) -> None:
        async for _ in stream.take(10, within="1h"):
            pass

    with Driver(app, broker=MemoryBroker(max_record_bytes=100_000)) as t:
        told = (
            r"agent 'gather': record 0 that its take\(\) holds needs .* bytes, more than a record may have \(100000\)"
        )
        with pytest.raises(RecordTooLarge, match=told):
            t.send(events, Event("a", text="x" * 40_000))
