"""Sessions by example: growing, merging, closing on silence, and what leaves store and changelog."""

from __future__ import annotations

from typing import Any

import pytest

import flows
from flows import count, session
from flows.brokers.base import TopicPartition
from flows.compile.names import changelog
from flows.testing import Driver


class Hit(flows.Record):
    page: str
    at: float | None
    n: int = 1


def hits_app(window: Any, *, group: str = "page", partitions: int = 1) -> tuple[flows.App, flows.Topic, flows.Table]:
    app = flows.App("web")
    hits = app.topic("hits", value=Hit, key="page", timestamp="at", partitions=partitions)
    return app, hits, hits.group_by(group).window(window).agg(hits=count()).table("t")


def shown(t: Driver, table: flows.Table) -> list[tuple[float | None, float | None, Any]]:
    """Return the changes since the last call: bounds and count."""
    return [(c.window, c.window_end, None if c.value is None else c.value["hits"]) for c in t.output(table)]


def rows(t: Driver, table: flows.Table) -> list[tuple[float, float, int]]:
    return sorted((r["window_start"], r["window_end"], r["hits"]) for r in t.table(table).rows())


def live_changelog(t: Driver, table: str) -> int:
    """Count the keys that a compacted changelog holds."""
    records = t._broker.read(TopicPartition(changelog("web", table), 0), 0)
    assert records is not None
    found = dict(zip(records.keys, records.values, strict=True))
    return sum(value is not None and not (key or b"").startswith(b"\xff\xff") for key, value in found.items())


def test_a_session_grows_and_a_record_between_two_merges_them() -> None:
    app, hits, table = hits_app(session("10s", grace="60s"))
    with app.test() as t:
        t.send(hits, Hit("a", 100.0))
        assert shown(t, table) == [(100.0, 100.0, 1)]
        t.send(hits, Hit("a", 110.0))
        assert shown(t, table) == [(100.0, 100.0, None), (100.0, 110.0, 2)]
        t.send(hits, Hit("a", 120.000001))
        assert shown(t, table) == [(120.000001, 120.000001, 1)]
        t.send(hits, Hit("a", 115.0))
        changes = shown(t, table)
        assert sorted(changes[:2]) == [(100.0, 110.0, None), (120.000001, 120.000001, None)]
        assert changes[2:] == [(100.0, 120.000001, 4)]
        t.send(hits, Hit("a", 105.0))
        assert shown(t, table) == [(100.0, 120.000001, 5)]
        assert t.table(table).get("a", window=100.0)["window_end"] == 120.000001


def test_a_topic_is_told_of_the_removal_before_the_result() -> None:
    app, hits, table = hits_app(session("10s", grace="60s", retention="60s"))
    out = app.topic("out", value=dict)
    table.to(out)
    with app.test() as t:
        with t.batch():
            t.send(hits, Hit("a", 100.0))
            t.send(hits, Hit("a", 120.0))
        assert sorted(r.value["window_start"] for r in t.output(out)) == [100.0, 120.0]
        t.send(hits, Hit("a", 110.0))
        found = t.output(out)
        assert [(r.key, r.value is None) for r in found] == [("a", True), ("a", True), ("a", False)]
        assert sorted(r.headers["window-start"] for r in found[:2]) == [b"100.0", b"120.0"]
        assert sorted(r.headers["window-end"] for r in found[:2]) == [b"100.0", b"120.0"]
        assert (found[2].value["window_start"], found[2].value["window_end"], found[2].timestamp) == (
            100.0,
            120.0,
            120.0,
        )
        t.send(hits, Hit("b", 1000.0))
        assert [(r.key, r.value and r.value["hits"]) for r in t.output(out)] == [("b", 1)]
        assert rows(t, table) == [(1000.0, 1000.0, 1)]


def test_a_session_closes_when_stream_time_is_beyond_its_last_record_gap_and_grace() -> None:
    app, hits, table = hits_app(session("10s", grace="5s", emit="close"))
    with app.test() as t:
        for at in (100.0, 104.0, 119.0):
            t.send(hits, Hit("a", at))
        assert shown(t, table) == []
        t.send(hits, Hit("b", 119.000001))
        assert shown(t, table) == [(100.0, 104.0, 2)]
        # Within the gap of the closed session, but in time itself: a session of its own.
        t.send(hits, Hit("c", 119.5))
        t.send(hits, Hit("a", 109.5))
        t.send(hits, Hit("a", 104.4))
        assert [(r.timestamp, r.windows, r.stream_time) for r in t.late(table)] == []
        t.send(hits, Hit("a", 90.0))
        assert [(r.timestamp, r.windows, r.stream_time) for r in t.late(table)] == [(90.0, [90.0], 119.5)]
        t.send(hits, Hit("b", 200.0))
        assert shown(t, table) == [(104.4, 119.0, 3), (119.000001, 119.000001, 1), (119.5, 119.5, 1)]


def test_a_late_record_joins_a_session_that_is_open() -> None:
    """As in Kafka Streams: what counts is the end of the session that the record makes."""
    app, hits, table = hits_app(session("10s"))
    with app.test() as t:
        for at in (100.0, 109.0, 118.0, 95.0, 84.0):
            t.send(hits, Hit("a", at))
        assert rows(t, table) == [(95.0, 118.0, 4)]
        assert [(r.timestamp, r.windows) for r in t.late(table)] == [(84.0, [84.0])]


def test_silence_closes_the_last_session() -> None:
    app, hits, table = hits_app(session("10s", grace="2s", emit="close"))
    with app.test() as t:
        t.send(hits, Hit("a", 100.0))
        t.send(hits, Hit("a", 103.0))
        t.advance("11.9s")
        assert shown(t, table) == []
        t.advance("200ms")
        assert shown(t, table) == [(100.0, 103.0, 2)]
        t.send(hits, Hit("a", 101.0))
        assert [r.windows for r in t.late(table)] == [[101.0]]


@pytest.mark.parametrize("trouble", ["none", "crash", "rebalance"])
def test_when_all_partitions_are_silent_sessions_close_also_over_a_restart(trouble: str) -> None:
    app, hits, table = hits_app(session("10s", emit="close"), group="n", partitions=3)
    with app.test() as t:
        t.send(hits, Hit("a", 5.0), partition=0)
        t.send(hits, Hit("b", 6.0), partition=1)
        t.advance("6s")
        if trouble != "none":
            getattr(t, trouble)()
        t.advance("20s")
        assert shown(t, table) == [(5.0, 6.0, 2)]
        t.crash()
        t.advance("1h")
        assert shown(t, table) == []


def test_one_silent_partition_holds_sessions_up_only_until_it_is_idle() -> None:
    app, hits, table = hits_app(session("10s", emit="close"), group="n", partitions=2)
    with app.test() as t:
        t.send(hits, Hit("a", 5.0), partition=0)
        t.send(hits, Hit("b", 6.0, 2), partition=1)
        for n in range(20):
            t.send(hits, Hit("b", 30.0 + n, 2), partition=1)
            t.advance("200ms")
        assert shown(t, table) == []
        for n in range(6):
            t.advance("200ms")
            t.send(hits, Hit("b", 50.0 + n, 2), partition=1)
        assert shown(t, table) == []
        t.advance("2s")
        assert shown(t, table) == [(5.0, 5.0, 1), (6.0, 6.0, 1)]


def test_what_is_over_leaves_store_and_changelogs() -> None:
    app, hits, table = hits_app(session("10s", grace="5s", retention="20s"))
    with app.test() as t:
        for n in range(20):
            t.send(hits, Hit("abcd"[n % 4], 100.0 + n))
        assert (live_changelog(t, "t"), live_changelog(t, "t.index")) == (4, 4)
        t.send(hits, Hit("e", 135.0))
        assert (live_changelog(t, "t"), live_changelog(t, "t.index")) == (5, 1)
        t.rebalance()
        t.send(hits, Hit("e", 500.0))
        assert rows(t, table) == [(500.0, 500.0, 1)]
        assert (live_changelog(t, "t"), live_changelog(t, "t.index")) == (1, 1)
        t.rebalance()
        assert rows(t, table) == [(500.0, 500.0, 1)]


def test_a_table_may_wait_for_the_end_from_today_on_and_no_longer_tomorrow() -> None:
    def driver(emit: str, old: Driver | None = None) -> tuple[Driver, flows.Topic, flows.Table]:
        app, hits, table = hits_app(session("10s", emit=emit))
        if old is None:
            return Driver(app, now=1000.0), hits, table
        return Driver(app, now=old.clock.now(), broker=old._broker, stores=old._stores), hits, table

    first, hits, table = driver("close")
    with first as t:
        t.send(hits, Hit("a", 100.0))
        assert rows(t, table) == []
        t._run(t._hand_back(), "stop")
    second, hits, table = driver("change", first)
    with second as t:
        assert rows(t, table) == [(100.0, 100.0, 1)]
        t.send(hits, Hit("a", 105.0))
        assert rows(t, table) == [(100.0, 105.0, 2)]
        t._run(t._hand_back(), "stop")
    third, hits, table = driver("close", second)
    with third as t:
        t.send(hits, Hit("a", 110.0))
        assert rows(t, table) == []
        t.send(hits, Hit("b", 200.0))
        assert rows(t, table) == [(100.0, 110.0, 3)]
