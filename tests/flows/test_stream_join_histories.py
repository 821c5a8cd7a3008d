"""Streams joined in windows against the naive oracle: random, disordered histories, cut in many ways."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

import flows
from flows import col
from tests.drawn import drawn
from tests.flows.join_histories import CUTS, HISTORIES, History, Left, Right, in_any_order, records_of, rows_of
from tests.oracle.joins import AsofJoin, Came, WindowJoin

SHAPES: dict[str, tuple[str, float, float, float]] = {
    "inner": ("inner", 5, 5, 0),
    "inner, grace": ("inner", 5, 5, 9),
    "left": ("left", 5, 5, 0),
    "left, grace": ("left", 4, 4, 6),
    "outer": ("outer", 5, 5, 0),
    "outer, grace, uneven": ("outer", 0, 9, 3),
    "left, only before": ("left", 12, -2, 5),
}


def joined(left: flows.Stream, right: flows.Stream, shape: tuple[str, float, float, float]) -> Any:
    how, before, after, grace = shape
    return left.join(right, "key", how=how, before=before, after=after, grace=grace, suffix="_right")


@pytest.mark.parametrize("shape", SHAPES)
@drawn(20)
@given(HISTORIES, CUTS)
def test_a_join_of_two_topics(shape: str, drawn: list[Any], cuts: list[str]) -> None:
    app = flows.App("o")
    sides = (
        app.topic("left", value=Left, key="key", timestamp="at"),
        app.topic("right", value=Right, key="key", timestamp="at"),
    )
    stream, oracle = joined(*sides, SHAPES[shape]), WindowJoin(*SHAPES[shape])
    with app.test() as t:
        History(t, sides, oracle).play(records_of(drawn), cuts)
        assert in_any_order(rows_of(t, stream)) == in_any_order(oracle.rows)
        late = [(r.value["n"], r.timestamp) for r in t.late(stream)]
        assert sorted(late) == sorted((r.n, r.at) for r in oracle.late)
        assert len(t.dead_letters()) == sum(timeless for *_, timeless in drawn)


ASOF: dict[str, tuple[str, str, float, float, bool]] = {
    "backward": ("left", "backward", 9, 0, False),
    "backward, grace": ("inner", "backward", 5, 6, False),
    "forward": ("left", "forward", 6, 3, False),
    "nearest": ("left", "nearest", 7, 0, False),
    "now": ("left", "backward", 9, 4, True),
}


@pytest.mark.parametrize("shape", ASOF)
@drawn(18)
@given(HISTORIES, CUTS)
def test_an_asof_join_of_two_topics(shape: str, drawn: list[Any], cuts: list[str]) -> None:
    app = flows.App("o")
    sides = (
        app.topic("left", value=Left, key="key", timestamp="at"),
        app.topic("right", value=Right, key="key", timestamp="at"),
    )
    how, direction, tolerance, grace, at_once = ASOF[shape]
    stream = sides[0].join_asof(
        sides[1], tolerance=tolerance, direction=direction, how=how, grace=grace, emit="now" if at_once else "close",
        suffix="_right",
    )  # fmt: skip
    oracle = AsofJoin(how, direction, tolerance, grace, at_once)
    with app.test() as t:
        History(t, sides, oracle).play(records_of(drawn), cuts)
        assert in_any_order(rows_of(t, stream)) == in_any_order(oracle.rows)
        assert sorted(r.value["n"] for r in t.late(stream)) == sorted(r.n for r in oracle.late)


@pytest.mark.parametrize("how", ["inner", "left", "outer"])
@drawn(10)
@given(HISTORIES, CUTS)
def test_a_join_behind_internal_topics(how: str, drawn: list[Any], cuts: list[str]) -> None:
    """With a grace that makes nothing late, what comes is what all records together say."""
    app = flows.App("o")
    sides = (
        app.topic("left", value=Left, timestamp="at", partitions=2),
        app.topic("right", value=Right, timestamp="at", partitions=3),
    )
    stream = joined(*sides, (how, 5, 7, 200))
    records = [r for r in records_of(drawn) if r.at is not None]
    oracle = WindowJoin(how, 5, 7, 200)
    for r in records:
        oracle.take(r)
    oracle.all_silent()
    with app.test() as t:
        t._env.chunk, t._env.fetch_records, t._env.commit_rows = 1 + len(cuts) % 3, 1 + len(cuts) % 4, 1 + len(cuts) * 2
        t.rebalance()
        for turn, r in enumerate(records):
            t.send(sides[r.side], (Left, Right)[r.side](r.key, r.n, r.at), partition=r.n % (2 + r.side))
            cut = cuts[turn % len(cuts)] if cuts else "one"
            if cut in ("crash", "rebalance"):
                getattr(t, cut)()
            elif cut == "silence":
                t.advance("7s")
        t.advance("2m")
        t.advance("2m")
        assert in_any_order(rows_of(t, stream)) == in_any_order(oracle.rows)
        assert t.late(stream) == []


class Both(flows.Record):
    side: int
    key: str | None
    n: int
    at: float | None


@pytest.mark.parametrize("shape", ["inner, grace", "left", "outer", "outer, grace, uneven"])
@drawn(18)
@given(HISTORIES, CUTS)
def test_a_join_of_a_topic_with_itself(shape: str, drawn: list[Any], cuts: list[str]) -> None:
    """The sides have one stream time, and no cut decides which record comes first."""
    app = flows.App("o")
    topic = app.topic("both", value=Both, key="key", timestamp="at")
    left, right = topic.filter(col("side") == 0), topic.filter(col("side") == 1)
    stream = joined(left, right.select("key", "n"), SHAPES[shape])
    oracle = OneTime(*SHAPES[shape])
    records = records_of(drawn)
    with app.test() as t:
        t._env.chunk, t._env.fetch_records, t._env.commit_rows = 1 + len(cuts) % 3, 1 + len(cuts) % 4, 1 + len(cuts) * 2
        t.rebalance()
        for turn, begin in enumerate(range(0, len(records), 3)):
            with t.batch():
                for r in records[begin : begin + 3]:
                    t.send(topic, Both(r.side, r.key, r.n, r.at))
                    oracle.take(r)
                if cuts and cuts[turn % len(cuts)] == "crash in batch":
                    t.crash()
            if cuts and cuts[turn % len(cuts)] in ("crash", "rebalance"):
                getattr(t, cuts[turn % len(cuts)])()
        t.advance("3m")
        oracle.all_silent()
        assert in_any_order(rows_of(t, stream)) == in_any_order(oracle.rows)
        assert sorted(r.value["n"] for r in t.late(stream)) == sorted(r.n for r in oracle.late)


class OneTime(WindowJoin):
    """A join whose sides are of one input."""

    def take(self, record: Came) -> None:
        if record.at is not None:
            self.time.see(record._replace(side=1 - record.side))
        super().take(record)
