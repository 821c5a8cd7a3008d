"""Corners where steps meet: keys of every kind, agents behind late records, timers that fail, tasks that are fenced."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pytest

import flows
from flows import col, count, sum, tumbling
from flows.errors import Fenced
from flows.testing import Driver


class Kinds(flows.Record):
    i: int = 0
    f: float = 0.0
    s: str = ""
    b: bool = False
    y: bytes = b""
    d: dt.date = dt.date(2013, 1, 1)
    t: dt.datetime = dt.datetime(2013, 1, 1, tzinfo=dt.UTC)
    at: float = 0.0


UTC_NOON = dt.datetime(2013, 1, 1, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("field", "values", "groups"),
    [
        ("i", [1, 2, 1, -(2**63)], {1: 2, 2: 1, -(2**63): 1}),
        ("f", [0.0, -0.0, 1.5, math.inf, -math.inf], {0.0: 2, 1.5: 1, math.inf: 1, -math.inf: 1}),
        ("s", ["", "a\x00b", "a", "€", "a"], {"": 1, "a\x00b": 1, "a": 2, "€": 1}),
        ("b", [True, False, True], {True: 2, False: 1}),
        ("y", [b"", b"\x00\xff", b"\x00\xff"], {b"": 1, b"\x00\xff": 2}),
        ("d", [dt.date(2013, 1, 1), dt.date(1969, 12, 31)], {dt.date(2013, 1, 1): 1, dt.date(1969, 12, 31): 1}),
        (
            "t",
            [UTC_NOON, UTC_NOON.replace(tzinfo=None), UTC_NOON.astimezone(dt.timezone(dt.timedelta(hours=2)))],
            {UTC_NOON: 3},
        ),
    ],
)
@pytest.mark.parametrize("windowed", [False, True])
def test_keys_of_every_kind(field: str, values: list[Any], groups: dict[Any, int], windowed: bool) -> None:
    app = flows.App("kinds")
    topic = app.topic("kinds", value=Kinds, timestamp="at", codec="msgpack", partitions=2)
    grouped = topic.group_by(field, partitions=2)
    grouped = grouped.window(tumbling("10s", grace="10s")) if windowed else grouped
    table = grouped.agg(n=count()).table("t")
    out = app.topic("out", value=dict, codec="msgpack")
    table.to(out)
    with app.test() as t:
        for value in values:
            t.send(topic, Kinds(**{field: value}))
        assert {r[field]: r["n"] for r in t.table(table).rows()} == groups
        t.rebalance()
        with t.batch():
            for value in values:
                t.send(topic, Kinds(**{field: value}))
        assert {r[field]: r["n"] for r in t.table(table).rows()} == {k: 2 * n for k, n in groups.items()}
        assert t.dead_letters() == []


def test_nan_is_one_group() -> None:
    app = flows.App("kinds")
    topic = app.topic("kinds", value=Kinds, codec="msgpack")
    table = topic.group_by("f").agg(n=count()).table("t")
    with app.test() as t:
        for _ in range(2):
            with t.batch():
                t.send(topic, Kinds(f=math.nan))
                t.send(topic, Kinds(f=-math.nan))
        assert [r["n"] for r in t.table(table).rows()] == [4]


@pytest.mark.parametrize("field", ["i", "s", "b", "y"])
def test_topics_keyed_by_every_kind(field: str) -> None:
    app = flows.App("kinds")
    topic = app.topic("kinds", value=Kinds, key=field, codec="msgpack", partitions=3)
    table = topic.group_by(field).agg(n=count()).table("t")
    seen: list[Any] = []

    @app.agent(topic)
    async def look(stream):
        async for key, value in stream.items():
            assert key == getattr(value, field)
            seen.append(key)

    with app.test() as t:
        for n in range(4):
            t.send(topic, Kinds(i=n % 2, s=str(n % 2), b=bool(n % 2), y=bytes([n % 2])))
        assert sorted(r["n"] for r in t.table(table).rows()) == [2, 2]
        assert len(seen) == 4
        assert t.dead_letters() == []


class Hit(flows.Record):
    page: str
    at: float
    n: int = 1


@pytest.mark.parametrize("group", ["page", "n"])
def test_agents_read_late_records(group: str) -> None:
    app = flows.App("web")
    hits = app.topic("hits", value=Hit, key="page", timestamp="at")
    table = hits.group_by(group).window(tumbling("10s")).agg(hits=count(), last=flows.last("page")).table("t")
    late = app.table("late_hits", key=str, value=int, default=int)
    seen: list[Any] = []

    @app.agent(table.late)
    async def watch(stream):
        async for event in stream.events():
            late["all"] += 1
            seen.append((event.key, event.value["page"], dict(event.headers)["windows"]))

    with app.test() as t:
        with t.batch():
            t.send(hits, Hit("a", 100.0))
            t.send(hits, Hit("b", 5.0))
        t.crash()
        t.send(hits, Hit("c", 15.0))
        keys = ["b", "c"] if group == "page" else ["1", "1"]
        assert seen == [(keys[0], "b", b"[0.0]"), (keys[1], "c", b"[10.0]")]
        assert t.table(late).get("all") == 2
        assert [r.key for r in t.late(table)] == keys


def test_a_timer_that_fails_is_taken_back_and_told() -> None:
    app = flows.App("web")
    hits = app.topic("hits", value=Hit, key="page", timestamp="at")
    seen = app.table("seen", value=int, default=int)

    @app.agent(hits)
    async def watch(stream):
        async for hit in stream:
            seen[hit.page] += 1

    @app.timer("1s")
    async def fragile():
        seen["ticks"] += 1
        if seen["ticks"] == 2:
            seen["twos"] += 1
            raise ValueError("two")

    with app.test() as t:
        t.advance("3.5s")
        assert {r["key"]: r["value"] for r in t.table(seen).rows()} == {"ticks": 1}
        assert {d.step for d in t.dead_letters()} == {"fragile"}
        assert len(t.dead_letters()) == 2
        t.send(hits, Hit("a", 0.0))
        assert t.table(seen).get("a") == 1


def test_a_task_that_was_taken_over_can_commit_nothing_more() -> None:
    def module() -> tuple[flows.App, flows.Topic, flows.Table]:
        app = flows.App("web")
        hits = app.topic("hits", value=Hit, key="page", timestamp="at")
        return app, hits, hits.window(tumbling("10s")).agg(hits=count()).table("t")

    app, hits, table = module()
    with Driver(app) as zombie:
        zombie.send(hits, Hit("a", 1.0))
        app, hits, table = module()
        with Driver(app, broker=zombie._broker) as t:
            with pytest.raises(Fenced, match="taken over"):
                zombie.send(hits, Hit("a", 2.0))
            t.send(hits, Hit("a", 3.0))
            assert [r["hits"] for r in t.table(table).rows()] == [3]
            t.rebalance()
            assert [r["hits"] for r in t.table(table).rows()] == [3]


def test_a_table_that_is_added_behind_idle_partitions_learns_their_time() -> None:
    def module(*names: str) -> tuple[flows.App, flows.Topic]:
        app = flows.App("web")
        hits = app.topic("hits", value=Hit, key="page", timestamp="at", partitions=2)
        for name in names:
            hits.group_by("n").window(tumbling("10s", emit="close")).agg(hits=count()).table(name)
        return app, hits

    app, hits = module("one")
    with Driver(app, now=1000.0) as old:
        old.send(hits, Hit("a", 100.0), partition=0)
        old.advance("10s")
        old._run(old._hand_back(), "stop")
    app, hits = module("one", "two")
    with Driver(app, now=2000.0, broker=old._broker, stores=old._stores) as t:
        t.advance("10s")
        t.send(hits, Hit("a", 101.0), partition=0)
        t.send(hits, Hit("a", 200.0), partition=0)
        t.advance("2s")
        assert [(r["window_start"], r["hits"]) for r in t.table("two").rows()] == [(100.0, 1)]
        assert [(r["window_start"], r["hits"]) for r in t.table("one").rows()] == [(100.0, 2)]


def test_an_optional_column_may_be_null_in_every_row() -> None:
    class Maybe(flows.Record):
        page: str
        x: float | None = None
        s: str | None = None

    app = flows.App("web")
    topic = app.topic("maybe", value=Maybe, key="page")
    doubled = topic.with_columns(y=col("x") * 2)
    table = (
        doubled.group_by("page")
        .agg(n=count("x"), total=sum("y"), least=flows.min("s"), mean=flows.mean("x"), q=flows.quantile("x", 0.5))
        .table("t")
    )
    with app.test() as t:
        t.send(topic, Maybe("a"))
        (row,) = t.table(table).rows()
        assert row == {"page": "a", "n": 0, "total": 0.0, "least": None, "mean": None, "q": None}
        t.send(topic, Maybe("a", 1.0, "s"))
        t.crash()
        (row,) = t.table(table).rows()
        assert row == {"page": "a", "n": 1, "total": 2.0, "least": "s", "mean": 1.0, "q": 1.0}
