"""Sliding windows: against the naive oracle over random histories, and by example."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

import flows
from flows import count, sliding, sum
from flows.brokers.base import TopicPartition
from flows.compile.names import changelog
from flows.testing import Driver
from tests.drawn import drawn
from tests.flows.histories import CUTS, DECLARED, NAIVE, SECOND, compare, histories
from tests.oracle.sliding import Sliding, SlidingOracle
from tests.oracle.tables import Sent

SHAPES: dict[str, tuple[Any, Sliding]] = {
    "no grace": (sliding("5s"), Sliding(5)),
    "grace": (sliding("5s", grace="9s"), Sliding(5, 9)),
    "long": (sliding("30s", grace="3s"), Sliding(30, 3)),
    "one moment": (sliding(0, grace="1000s"), Sliding(0, 1000)),
    "retention": (sliding("5s", grace="2s", retention="11s"), Sliding(5, 2, 11)),
    "retention of nothing": (sliding("3s", retention=0), Sliding(3, 0, 0)),
    "close": (sliding("5s", grace="4s", emit="close"), Sliding(5, 4, closes=True)),
    "close, retention": (sliding("6s", grace="2s", emit="close", retention="10s"), Sliding(6, 2, 10, closes=True)),
}


def in_microseconds(s: Sliding) -> Sliding:
    keep = None if s.retention is None else s.retention * SECOND
    return Sliding(s.difference * SECOND, s.grace * SECOND, keep, s.closes)


@pytest.mark.parametrize("shape", SHAPES)
@drawn(12)
@given(histories(2), CUTS)
def test_sliding_windows_of_a_topic_keyed_by_the_group(shape: str, history: list[Sent], cuts: list[str]) -> None:
    window, naive = SHAPES[shape]
    oracle = SlidingOracle(["key"], in_microseconds(naive), NAIVE)
    compare(lambda topic: topic.window(window).agg(**DECLARED).table("t"), oracle, history, cuts, 2)


@drawn(12)
@given(histories(1), CUTS)
def test_sliding_windows_behind_a_repartition_by_two_columns(history: list[Sent], cuts: list[str]) -> None:
    window, naive = SHAPES["close, retention"]
    oracle = SlidingOracle(["other", "n"], in_microseconds(naive), NAIVE)

    def table_of(topic: Any) -> Any:
        grouped = topic.group_by("other", "n", partitions=3)
        return grouped.window(window).agg(**DECLARED, key=flows.last("key")).table("t")

    compare(table_of, oracle, history, cuts, 1)


class Hit(flows.Record):
    page: str
    at: float | None
    n: int = 1


def hits_app(window: Any, *, group: str = "page", partitions: int = 1) -> tuple[flows.App, flows.Topic, flows.Table]:
    app = flows.App("web")
    hits = app.topic("hits", value=Hit, key="page", timestamp="at", partitions=partitions)
    return app, hits, hits.group_by(group).window(window).agg(hits=count(), total=sum("n")).table("t")


def rows(t: Driver, table: flows.Table) -> list[tuple[float, float, int]]:
    return [(r["window_start"], r["window_end"], r["total"]) for r in t.table(table).rows()]


def live_changelog(t: Driver, table: str) -> int:
    """Count the keys that a compacted changelog holds."""
    records = t._broker.read(TopicPartition(changelog("web", table), 0), 0)
    assert records is not None
    found = dict(zip(records.keys, records.values, strict=True))
    return [v is not None and not (k or b"").startswith(b"\xff\xff") for k, v in found.items()].count(True)


def test_each_set_of_records_is_one_window() -> None:
    """The example of Kafka Streams' documentation (TimeWindowedKStream): 10 ms, records at 8000, 9200 and 12400 ms."""
    app, hits, table = hits_app(sliding("5s", grace="30s"))
    with app.test() as t:
        for at, n in ((8.0, 1), (9.2, 10), (12.4, 100)):
            t.send(hits, Hit("a", at, n))
        assert rows(t, table) == [
            (3.0, 8.0, 1),
            (4.2, 9.2, 11),
            (7.4, 12.4, 111),
            (8.000001, 13.000001, 110),
            (9.200001, 14.200001, 100),
        ]
        t.send(hits, Hit("a", 9.2, 1000))
        assert [total for _, _, total in rows(t, table)] == [1, 1011, 1111, 1110, 100]


def test_a_record_late_for_the_window_that_ends_with_it_may_be_in_time_for_others() -> None:
    app, hits, table = hits_app(sliding("5s"))
    with app.test() as t:
        t.send(hits, Hit("a", 10.0))
        t.send(hits, Hit("a", 8.0, 10))
        assert rows(t, table) == [(5.0, 10.0, 11), (8.000001, 13.000001, 1)]
        t.send(hits, Hit("a", 4.9, 100))
        assert rows(t, table) == [(5.0, 10.0, 11), (8.000001, 13.000001, 1)]
        assert [(r.timestamp, r.windows) for r in t.late(table)] == [(8.0, [3.0]), (4.9, [-0.1])]


@pytest.mark.parametrize("trouble", ["none", "crash", "rebalance"])
def test_silence_closes_windows_also_over_a_restart(trouble: str) -> None:
    app, hits, table = hits_app(sliding("10s", emit="close"), group="n", partitions=3)
    with app.test() as t:
        t.send(hits, Hit("a", 5.0), partition=0)
        t.send(hits, Hit("b", 6.0), partition=1)
        t.advance("6s")
        if trouble != "none":
            getattr(t, trouble)()
        t.advance("20s")
        assert rows(t, table) == [(-5.0, 5.0, 1), (-4.0, 6.0, 2), (5.000001, 15.000001, 1)]


def test_what_is_over_leaves_store_and_changelogs() -> None:
    app, hits, table = hits_app(sliding("10s", grace="5s", retention="20s"))
    with app.test() as t:
        for n in range(12):
            t.send(hits, Hit("abc"[n % 3], 100.0 + n))
        assert [live_changelog(t, name) for name in ("t.index", "t.points")] == [3, 12]
        t.send(hits, Hit("d", 123.0))
        assert [live_changelog(t, name) for name in ("t.index", "t.points")] == [4, 5]
        t.rebalance()
        t.send(hits, Hit("d", 500.0))
        t.rebalance()
        assert rows(t, table) == [(490.0, 500.0, 1)]
        assert [live_changelog(t, name) for name in ("t", "t.index", "t.points")] == [1, 1, 1]
