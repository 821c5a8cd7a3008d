"""Bad data: each bad record goes to the dead letters with its reason and origin, and holds up nothing."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

import flows
from flows import count, last, tumbling
from tests.flows.bad_events import NOW, Event, setup


class Strict(flows.Record):
    user: str

    def __post_init__(self) -> None:
        if self.user == "zero":
            raise ZeroDivisionError("no such user")


class Dated(flows.Record):
    user: str
    at: dt.datetime | None


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
