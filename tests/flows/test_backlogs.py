"""Backlogs through a repartition: what each partition has in order is late nowhere, however far the others are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from flows import count, tumbling
from tests.drawn import drawn
from tests.flows.histories import CUTS


class Hit(flows.Record):
    page: str
    site: str
    at: float | None


def sites_app(partitions: int, **window: Any) -> tuple[flows.App, flows.Topic, flows.Table]:
    app = flows.App("web")
    hits = app.topic("hits", value=Hit, key="page", timestamp="at", partitions=partitions)
    grouped = hits.group_by("site", partitions=2).window(tumbling("10s", **window))
    return app, hits, grouped.agg(hits=count()).table("t")


STEPS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), st.sampled_from("xyz"), st.booleans()), max_size=25)


@drawn(60)
@given(STEPS, CUTS)
def test_orderly_partitions_lose_nothing_however_they_are_drained(steps: list[Any], cuts: list[str]) -> None:
    app, hits, table = sites_app(3)
    times = [0.0, 0.0, 0.0]
    expected: dict[tuple[str, float], int] = {}
    with app.test() as t:
        turn = 0
        while steps:
            cut = cuts[turn % len(cuts)] if cuts else "one"
            turn += 1
            length = 1 + turn % 6 if "batch" in cut else 1
            with t.batch():
                for partition, step, site, timed in steps[:length]:
                    times[partition] += step
                    at = times[partition] if timed else None
                    t.send(hits, Hit("p", site, at), partition=partition)
                    if at is not None:
                        place = (site, at // 10 * 10)
                        expected[place] = expected.get(place, 0) + 1
                if cut == "crash in batch":
                    t.crash()
            steps = steps[length:]
            if cut in ("crash", "rebalance"):
                getattr(t, cut)()
        assert t.late(table) == []
        assert {(r["site"], r["window_start"]): r["hits"] for r in t.table(table).rows()} == expected


@pytest.mark.parametrize("emit", ["change", "close"])
def test_partitions_drained_one_after_the_other_count_like_an_orderly_replay(emit: str) -> None:
    app, hits, table = sites_app(3, emit=emit)
    with app.test() as t:
        for partition in range(3):
            with t.batch():
                for n in range(200):
                    t.send(hits, Hit("p", "xyz"[n % 3], float(n)), partition=partition)
        t.advance("1m")
        assert t.late(table) == []
        rows = t.table(table).rows()
        assert sum(r["hits"] for r in rows) == 600
        assert {r["window_start"] for r in rows} == {10.0 * n for n in range(20)}


@pytest.mark.parametrize("pause", ["1s", "6s", "8s", "60s"])
@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("emit", ["change", "close"])
def test_after_a_pause_of_all_none_is_left_behind(emit: str, before: int, pause: str) -> None:
    """A source that starts late, or a machine that stood still: all were idle, and one is the first to go on."""
    app, hits, table = sites_app(3, emit=emit)
    with app.test() as t:
        for n in range(before):
            for partition in range(3):
                t.send(hits, Hit("p", "xyz"[n % 3], float(n)), partition=partition)
        t.advance(pause)
        with t.batch():
            for partition in range(3):
                for n in range(before, 200):
                    t.send(hits, Hit("p", "xyz"[n % 3], float(n) + 60), partition=partition)
        assert t.late(table) == []
        t.advance("1m")
        rows = t.table(table).rows()
        assert sum(r["hits"] for r in rows) == 600


def test_markers_end_once_all_are_silent() -> None:
    app, hits, table = sites_app(3)
    with app.test() as t:
        for partition in range(3):
            t.send(hits, Hit("p", "x", 1.0), partition=partition)
        t.advance("20s")
        ends = repartition_ends(t)
        t.advance("1h")
        assert repartition_ends(t) == ends
        assert [r["hits"] for r in t.table(table).rows()] == [3]


def test_a_silent_partition_holds_time_up_for_two_looks_only() -> None:
    app, hits, table = sites_app(2)
    with app.test() as t:
        t.send(hits, Hit("p", "x", 0.0), partition=0)
        t.send(hits, Hit("p", "x", 0.0), partition=1)
        t.advance("10s")
        for n in range(20):
            t.send(hits, Hit("p", "x", 100.0 * n), partition=1)
            t.advance("1s")
        t.send(hits, Hit("p", "x", 1500.0), partition=1)
        assert [r.timestamp for r in t.late(table)] == [1500.0]


def repartition_ends(t: Any) -> list[int]:
    broker = t._broker
    found = [broker._log(tp).end for name in broker._specs for tp in broker.partitions(name) if "repartition" in name]
    assert found, sorted(broker._specs)
    return found


def test_a_partition_that_falls_behind_makes_its_own_records_late_once_it_was_idle() -> None:
    app, hits, table = sites_app(2)
    with app.test() as t:
        t.send(hits, Hit("p", "x", 0.0), partition=0)
        t.send(hits, Hit("p", "x", 0.0), partition=1)
        t.advance("4s")
        t.send(hits, Hit("p", "x", 100.0), partition=1)
        t.send(hits, Hit("p", "x", 5.0), partition=0)
        assert t.late(table) == []
        t.advance("4s")
        t.send(hits, Hit("p", "x", 200.0), partition=1)
        t.advance("4s")
        t.send(hits, Hit("p", "x", 201.0), partition=1)
        t.send(hits, Hit("p", "x", 6.0), partition=0)
        assert [(r.timestamp, r.windows) for r in t.late(table)] == [(6.0, [0.0])]


def test_tasks_commit_what_they_own_when_markers_are_all_that_comes() -> None:
    app, hits, table = sites_app(1, emit="close")
    with app.test() as t:
        t.send(hits, Hit("p", "x", 5.0))
        for at in range(6, 60):
            t.send(hits, Hit("p", "yz"[at % 2], float(at)))
        assert t.table(table).get("x")["hits"] == 1
        t.rebalance()
        assert t.table(table).get("x")["hits"] == 1
