"""Windows that are shown once, when they can no longer change; silence, which closes them; retention."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

import flows
from flows import count, hopping, sum, tumbling
from flows.brokers.base import TopicPartition
from flows.compile.names import changelog
from flows.testing import Driver
from tests.drawn import drawn
from tests.flows.histories import CUTS, NAIVE, SECOND, Reading, histories, play
from tests.oracle.tables import Sent, TableOracle
from tests.oracle.windows import Windows


class Hit(flows.Record):
    page: str
    at: float | None
    n: int = 1


def hits_app(window: Any, *, group: str = "page", partitions: int = 1) -> tuple[flows.App, flows.Topic, flows.Table]:
    app = flows.App("web")
    hits = app.topic("hits", value=Hit, key="page", timestamp="at", partitions=partitions)
    return app, hits, hits.group_by(group).window(window).agg(hits=count()).table("t")


def shown(t: Driver, table: flows.Table) -> list[tuple[Any, float | None, Any]]:
    """Return the changes since the last call: key, window, count."""
    return [(c.key, c.window, None if c.value is None else c.value["hits"]) for c in t.output(table)]


def changelog_of(t: Driver, table: str, partition: int = 0) -> dict[bytes, bytes | None]:
    """Return the last record of each key of a changelog, as a compaction leaves it."""
    records = t._broker.read(TopicPartition(changelog("web", table), partition), 0)
    assert records is not None
    found = dict(zip(records.keys, records.values, strict=True))
    return {key: value for key, value in found.items() if key is not None and not key.startswith(b"\xff\xff")}


def test_a_window_is_shown_by_the_record_that_closes_it() -> None:
    app, hits, table = hits_app(tumbling("10s", grace="5s", emit="close"))
    with app.test() as t:
        for at in (1.0, 9.0, 14.999):
            t.send(hits, Hit("a", at))
        assert (t.table(table).rows(), shown(t, table)) == ([], [])
        t.send(hits, Hit("a", 3.0))
        t.send(hits, Hit("b", 15.0))
        assert shown(t, table) == [("a", 0.0, 3)]
        assert t.table(table).get("a") == {"page": "a", "window_start": 0.0, "window_end": 10.0, "hits": 3}
        t.send(hits, Hit("a", 4.0))
        assert [(r.value["at"], r.windows, r.stream_time) for r in t.late(table)] == [(4.0, [0.0], 15.0)]
        t.crash()
        t.send(hits, Hit("a", 100.0))
        assert shown(t, table) == [("a", 10.0, 1), ("b", 10.0, 1)]


@drawn(60)
@given(histories(2), CUTS)
def test_each_closed_window_leaves_once_with_its_final_row(history: list[Sent], cuts: list[str]) -> None:
    windows = Windows(10 * SECOND, 5 * SECOND, 4 * SECOND, 4 * SECOND, closes=True)
    oracle = TableOracle(["key"], windows, {"n": NAIVE["records"], "total": NAIVE["sum_n"]})
    app = flows.App("o")
    topic = app.topic("readings", value=Reading, key="key", timestamp="at", partitions=2)
    out = app.topic("out", value=dict)
    window = hopping("10s", "5s", grace="4s", retention="4s", emit="close")
    topic.window(window).agg(n=count(), total=sum("n")).table("t").to(out)
    for sent in history:
        oracle.add(sent)
    with app.test() as t:
        play(t, topic, history, cuts)
        rows = [(r.value["key"], r.value["window_start"], r.value) for r in t.output(out)]
        found = {(key, start): {"n": row["n"], "total": row["total"]} for key, start, row in rows}
        assert len(found) == len(rows)
        assert found == {(g.key[0], g.window / SECOND): row for g, row in oracle.every_row().items()}


def test_silence_closes_the_last_windows_at_the_clocks_rate() -> None:
    app, hits, table = hits_app(tumbling("10s", grace="5s", emit="close"))
    with app.test() as t:
        t.send(hits, Hit("a", 8.0))
        t.advance("6.9s")
        assert shown(t, table) == []
        t.advance("200ms")
        assert shown(t, table) == [("a", 0.0, 1)]
        t.advance("1h")
        assert shown(t, table) == []
        t.send(hits, Hit("a", 9.5))
        assert [(r.value["at"], r.windows) for r in t.late(table)] == [(9.5, [0.0])]


def test_silence_shorter_than_idle_closes_nothing() -> None:
    app, hits, table = hits_app(tumbling("1s", emit="close"))
    with app.test() as t:
        t.send(hits, Hit("a", 0.5))
        t.advance("4.9s")
        assert shown(t, table) == []
        t.send(hits, Hit("a", 0.6))
        t.advance("4.9s")
        assert shown(t, table) == []
        t.advance("200ms")
        assert shown(t, table) == [("a", 0.0, 2)]


def test_silence_before_the_first_timed_record_closes_nothing() -> None:
    app, hits, table = hits_app(tumbling("1s", emit="close"))
    with app.test() as t:
        t.advance("1h")
        t.send(hits, Hit("a", None))
        t.advance("1h")
        t.send(hits, Hit("a", 0.5))
        assert shown(t, table) == []
        t.advance("10s")
        assert shown(t, table) == [("a", 0.0, 1)]


def test_silence_counts_for_closing_only_and_not_across_a_restart() -> None:
    app = flows.App("web")
    hits = app.topic("hits", value=Hit, key="page", timestamp="at")
    waits = hits.window(tumbling("10s", emit="close")).agg(hits=count()).table("waits")
    shows = hits.window(tumbling("10s")).agg(hits=count()).table("shows")
    with app.test() as t:
        t.send(hits, Hit("a", 0.0))
        t.advance("8s")
        t.crash()
        t.advance("8s")
        assert shown(t, waits) == []
        t.advance("3s")
        assert shown(t, waits) == [("a", 0.0, 1)]
        t.crash()
        t.send(hits, Hit("a", 5.0))
        assert [r.windows for r in t.late(waits)] == [[0.0]]
        assert t.late(shows) == []
        assert [r["hits"] for r in t.table(shows).rows()] == [2]
        t.rebalance()
        t.send(hits, Hit("a", 6.0))
        assert len(t.late(waits)) == 2


def test_one_silent_partition_holds_up_others_only_until_it_is_idle() -> None:
    app, hits, table = hits_app(tumbling("10s", emit="close"), group="n", partitions=2)
    with app.test() as t:
        t.send(hits, Hit("a", 5.0), partition=0)
        t.send(hits, Hit("b", 6.0), partition=1)
        for n in range(20):
            t.send(hits, Hit("b", 30.0 + n), partition=1)
            t.advance("200ms")
        assert shown(t, table) == []
        for n in range(6):
            t.advance("200ms")
            t.send(hits, Hit("b", 50.0 + n), partition=1)
        assert shown(t, table) == [], "the others may have gone on before the silent one could"
        t.advance("2s")
        assert shown(t, table)[0] == (1, 0.0, 2)
        t.send(hits, Hit("a", 5.0), partition=0)
        assert [r.windows for r in t.late(table)] == [[0.0]]


@pytest.mark.parametrize("trouble", ["none", "crash", "rebalance"])
def test_when_all_partitions_are_silent_time_goes_on_behind_a_repartition_too(trouble: str) -> None:
    app, hits, table = hits_app(tumbling("10s", emit="close"), group="n", partitions=3)
    with app.test() as t:
        t.send(hits, Hit("a", 5.0), partition=0)
        t.send(hits, Hit("b", 6.0), partition=1)
        t.advance("6s")
        if trouble != "none":
            getattr(t, trouble)()
        t.advance("16s")
        assert shown(t, table) == [(1, 0.0, 2)]
        assert [r["hits"] for r in t.table(table).rows()] == [2]


def test_a_timed_partition_beside_empty_ones_closes_windows() -> None:
    app, hits, table = hits_app(tumbling("10s", emit="close"), group="n", partitions=4)
    with app.test() as t:
        t.advance("6s")
        t.send(hits, Hit("a", 5.0), partition=2)
        t.send(hits, Hit("a", 50.0), partition=2)
        t.advance("2s")
        assert shown(t, table) == [(1, 0.0, 1)]


def test_retention_removes_rows_from_the_table_and_its_changelog() -> None:
    app, hits, table = hits_app(hopping("10s", "5s", retention="20s"))
    with app.test() as t:
        t.send(hits, Hit("a", 7.0))
        assert shown(t, table) == [("a", 0.0, 1), ("a", 5.0, 1)]
        t.send(hits, Hit("b", 29.9))
        assert len(t.table(table).rows()) == 4
        t.send(hits, Hit("b", 30.0))
        assert ("a", 0.0, None) in shown(t, table)
        t.send(hits, Hit("b", 1000.0))
        assert [r["window_start"] for r in t.table(table).rows()] == [995.0, 1000.0]
        live = {key for key, value in changelog_of(t, "t").items() if value is not None}
        assert len(live) == 2
        assert len(changelog_of(t, "t")) > 4
        t.rebalance()
        assert [r["window_start"] for r in t.table(table).rows()] == [995.0, 1000.0]


def test_a_topic_of_changes_is_not_told_of_windows_past_their_retention() -> None:
    app, hits, table = hits_app(tumbling("10s", retention="20s"))
    out = app.topic("out", value=dict)
    table.to(out)
    with app.test() as t:
        t.send(hits, Hit("a", 1.0))
        t.send(hits, Hit("a", 1000.0))
        assert [(r.key, r.value and r.value["window_start"]) for r in t.output(out)] == [("a", 0.0), ("a", 1000.0)]
        assert ("a", 0.0, None) in shown(t, table)


def test_a_window_that_comes_and_goes_in_one_commit_is_shown_and_removed() -> None:
    for emit in ("change", "close"):
        app, hits, table = hits_app(tumbling("10s", retention=0, emit=emit))
        with app.test() as t:
            with t.batch():
                t.send(hits, Hit("a", 1.0))
                t.send(hits, Hit("b", 100.0))
            changes = shown(t, table)
            assert changes[-1] == ("a", 0.0, None)
            assert changes.index(("a", 0.0, 1)) < changes.index(("a", 0.0, None))
            t.rebalance()
            assert [r["window_start"] for r in t.table(table).rows()] == ([100.0] if emit == "change" else [])


def test_negative_times_and_the_epoch() -> None:
    app, hits, table = hits_app(hopping("10s", "4s", grace="100s"))
    with app.test() as t:
        for at in (-0.5, 0.0, -10.0):
            t.send(hits, Hit("a", at))
        assert [(r["window_start"], r["hits"]) for r in t.table(table).rows()] == [
            (-16.0, 1),
            (-12.0, 1),
            (-8.0, 2),
            (-4.0, 2),
            (0.0, 1),
        ]
