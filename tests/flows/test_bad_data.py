"""Bad data: each bad record goes to the dead letters with its reason and origin, and holds up nothing."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest

import flows
from flows import col, count, last, sum, tumbling
from flows.errors import FlowsError, RecordTooLarge

NOW = 1_400_000_000.0


class Event(flows.Record):
    user: str | None
    n: int = 0
    x: float | None = None
    at: float | None = 0.0
    text: str = ""


class Strict(flows.Record):
    user: str

    def __post_init__(self) -> None:
        if self.user == "zero":
            raise ZeroDivisionError("no such user")


class Dated(flows.Record):
    user: str
    at: dt.datetime | None


def setup(**topic: Any) -> tuple[flows.App, flows.Topic, flows.Table, flows.Topic]:
    app = flows.App("bad")
    events = app.topic("events", value=Event, timestamp="at", **topic)
    out = app.topic("out", value=dict)
    table = (
        events.group_by("user")
        .window(tumbling("1h", grace="1000d"))
        .agg(events=count(), n=sum("n"), x=sum("x"), text=last("text"))
        .table("by_user")
    )

    @app.agent(events, sink=[out])
    async def copy(stream):
        async for event in stream:
            yield {"user": event.user}

    return app, events, table, out


REFUSED = [
    (b"", "Input data was truncated"),
    (b"not json", "JSON is malformed"),
    (b'{"user": "a"', "truncated"),
    (b'{"user": "a"}{"user": "b"}', "trailing characters"),
    (b'{"user": "a"}\n{"user": "b"}', "trailing characters"),
    (b'["a"]', "Expected `object`, got `array`"),
    (b"null", "Expected `object`, got `null`"),
    (b"5", "Expected `object`, got `int`"),
    (b'{"n": 1}', "missing required field `user`"),
    (b'{"user": 5}', "Expected `str | null`, got `int` - at `$.user`"),
    (b'{"user": "a", "n": "1"}', "Expected `int`, got `str` - at `$.n`"),
    (b'{"user": "a", "n": 1.5}', "Expected `int`, got `float`"),
    (b'{"user": "a", "n": 1e999}', "out of range"),
    (b'{"user": "a", "x": NaN}', "malformed"),
    (b'{"user": "a", "at": true}', "Expected `float | null`, got `bool`"),
    (b'{"user": "\xff\xfe"}', "utf-8"),
    (b'{"user": "\\ud800"}', "truncated"),
    (b'{"user": "a", "deep": ' + b"[" * 100_000, "recursion"),
    (b'{"user": "a", "n": %d}' % 2**63, f"n={2**63} does not fit into 64 bits"),
    (b'{"user": "a", "n": %d}' % -(2**63 + 1), "does not fit into 64 bits"),
    (b'{"user": "a", "n": 1%s}' % (b"0" * 400), "n=an integer of 1329 bits does not fit"),
    (b'{"user": "a", "at": 1e300}', "is no time between the years 1 and 9999"),
    (b'{"user": "a", "at": -1e300}', "is no time between the years 1 and 9999"),
    (b'{"user": "a", "at": %d}' % (NOW + 3601), "ahead of the clock, more than max_ahead=3600 s"),
    (b'{"user": "a", "at": 4070908800}', "ahead of the clock"),
    (None, "null value: expected Event"),
]


@pytest.mark.parametrize("batch", [False, True], ids=["one by one", "as a batch"])
def test_each_bad_record_is_refused_alone(batch: bool) -> None:
    app, events, table, out = setup()
    good = b'{"user": "a", "n": 1, "at": %d}' % NOW
    with app.test(now=NOW) as t:
        if batch:
            with t.batch():
                _send_all(t, events, good)
        else:
            _send_all(t, events, good)
        dead = sorted(t.dead_letters(), key=lambda d: d.offset)
        assert [(d.topic, d.partition, d.offset, d.value) for d in dead] == [
            ("events", 0, 2 * i + 1, value) for i, (value, _) in enumerate(REFUSED)
        ]
        for letter, (_, reason) in zip(dead, REFUSED, strict=True):
            assert reason.lower() in letter.reason.lower()
        (row,) = t.table(table).rows()
        assert (row["events"], row["n"]) == (len(REFUSED) + 1, len(REFUSED) + 1)
        assert len(t.output(out)) == len(REFUSED) + 1
        t.rebalance()
        assert t.table(table).rows() == [row]


def _send_all(t: Any, events: flows.Topic, good: bytes) -> None:
    t.send(events, good)
    for value, _ in REFUSED:
        t.send(events, value)
        t.send(events, good)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"user": None, "at": 5.0}, "null key 'user' for by_user"),
        ({"user": "a", "at": None}, "no event time, so no window for by_user"),
        ({"user": "u" * 33_000, "at": 5.0}, "has 33000 bytes, more than 32768"),
        ({"user": "€" * 11_000, "at": 5.0}, "has 33000 bytes, more than 32768"),
        ({"user": "a", "at": 5.0, "text": "x" * 990_000}, "text's value for by_user.group_by has 990000 bytes"),
    ],
)
def test_what_cannot_be_grouped_still_reaches_the_agents(value: dict[str, Any], reason: str) -> None:
    app, events, table, out = setup()
    with app.test(now=NOW) as t:
        with t.batch():
            t.send(events, {"user": "a", "at": 5.0})
            t.send(events, value)
            t.send(events, {"user": "a", "at": 6.0})
        (dead,) = t.dead_letters()
        assert reason in dead.reason
        assert (dead.topic, dead.offset) == ("events", 1)
        assert [r.value["user"] for r in t.output(out)] == ["a", value["user"], "a"]
        assert [r["events"] for r in t.table(table).rows()] == [2]


def test_a_null_time_moves_nothing_and_a_table_without_windows_takes_it() -> None:
    app = flows.App("bad")
    events = app.topic("events", value=Event, key="user", timestamp="at")
    changes = app.topic("changes", value=dict)
    table = events.group_by("user").agg(events=count(), text=last("text")).table("by_user")
    table.to(changes)
    with app.test(now=NOW) as t:
        t.send(events, Event("a", at=None, text="first"))
        (record,) = t.output(changes)
        assert record.timestamp == NOW
        (change,) = t.output(table)
        assert change.timestamp is None
        t.send(events, Event("a", at=NOW, text="timed"))
        t.send(events, Event("a", at=NOW - 5, text="earlier"))
        t.send(events, Event("a", at=None, text="now"))
        t.crash()
        assert t.table(table).rows() == [{"user": "a", "events": 4, "text": "now"}]


def test_times_at_the_edges() -> None:
    app, events, table, _ = setup()
    with app.test(now=NOW) as t:
        for at in (-62_000_000_000.0, -0.5, 0.0, NOW + 3600.0):
            t.send(events, Event("a", at=at))
        assert t.dead_letters() == []
        assert [r["window_start"] for r in t.table(table).rows()] == [-62_000_002_800.0, -3600.0, 0.0, 1_400_000_400.0]
        assert t.late(table) == []


def test_datetimes_with_and_without_zone() -> None:
    app = flows.App("bad")
    events = app.topic("events", value=Dated, key="user", timestamp="at")
    table = events.window(tumbling("1h", grace="1d")).agg(events=count(), at=last("at")).table("by_user")
    with app.test(now=NOW) as t:
        with t.batch():
            t.send(events, b'{"user": "a", "at": "2013-01-01T05:00:00"}')
            t.send(events, b'{"user": "a", "at": "2013-01-01T07:00:00+02:00"}')
            t.send(events, b'{"user": "a", "at": "2013-01-01T05:00:00.000001Z"}')
        t.send(events, b'{"user": "a", "at": "2013-01-01 25:00"}')
        t.send(events, b'{"user": "a", "at": 5}')
        (row,) = t.table(table).rows()
        assert row["events"] == 3
        assert row["at"] == dt.datetime(2013, 1, 1, 5, 0, 0, 1, tzinfo=dt.UTC)
        assert len(t.dead_letters()) == 2


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_units_of_time(unit: str) -> None:
    class Tick(flows.Record):
        at: int

    app = flows.App("bad")
    ticks = app.topic("ticks", value=Tick, timestamp="at", unit=unit)
    table = ticks.with_columns(one=1).group_by("one").window(tumbling("10s")).agg(n=count()).table("n")
    with app.test(now=NOW) as t:
        t.send(ticks, Tick(0), at=25.0)
        assert [r["window_start"] for r in t.table(table).rows()] == [20.0]


@pytest.mark.parametrize("value_type", [str, bytes, dict, Any])
def test_tombstones_and_odd_bytes_in_topics_without_columns(value_type: Any) -> None:
    app = flows.App("bad")
    plain = app.topic("plain", value=value_type)
    got: list[Any] = []

    @app.agent(plain)
    async def read(stream):
        async for value in stream:
            got.append(value)

    with app.test() as t:
        with t.batch():
            t.send(plain, b'{"a": 1}')
            t.send(plain, None, key="gone")
            t.send(plain, b"\xff")
        assert None in got
        assert len(got) + len(t.dead_letters()) == 3
        assert len(t.dead_letters()) == (0 if value_type is bytes else 1)


def test_a_record_class_may_refuse_in_its_own_way() -> None:
    app = flows.App("bad")
    events = app.topic("events", value=Strict, key="user")
    table = events.group_by("user").agg(n=count()).table("n")
    with app.test() as t:
        with t.batch():
            t.send(events, {"user": "one"})
            t.send(events, b'{"user": "zero"}', key="zero")
            t.send(events, {"user": "one"})
        assert t.table(table).rows() == [{"user": "one", "n": 2}]
        assert "no such user" in t.dead_letters()[0].reason


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
