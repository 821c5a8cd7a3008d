"""Count windows: against the naive oracle over random histories, and by example."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

import flows
from flows import count, count_window, last
from tests.drawn import drawn
from tests.flows.histories import CUTS, DECLARED, NAIVE, SECOND, Reading, group, histories, play, same
from tests.oracle.counted import Counted, CountOracle
from tests.oracle.tables import Sent

SHAPES: dict[str, tuple[Any, Counted]] = {
    "each record": (count_window(1), Counted(1)),
    "three": (count_window(3), Counted(3)),
    "more than there are": (count_window(1000), Counted(1000)),
    "close": (count_window(2, emit="close"), Counted(2, closes=True)),
    "retention": (count_window(2, retention="9s"), Counted(2, 9 * SECOND)),
    "close, retention": (count_window(3, emit="close", retention=0), Counted(3, 0, closes=True)),
}


@pytest.mark.parametrize("shape", SHAPES)
@drawn(12)
@given(histories(2), CUTS)
def test_count_windows_over_random_histories(shape: str, history: list[Sent], cuts: list[str]) -> None:
    window, naive = SHAPES[shape]
    oracle = CountOracle(["key"], naive, NAIVE)
    app = flows.App("o")
    topic = app.topic("readings", value=Reading, key="key", timestamp="at", partitions=2)
    table = topic.window(window).agg(**DECLARED).table("t")
    for sent in history:
        oracle.add(sent)
    with app.test() as t:
        play(t, topic, history, cuts)
        expected = oracle.numbered()
        rows = {((row["key"],), row["window_number"]): row for row in t.table(table).rows()}
        assert rows.keys() == expected.keys()
        for place, row in rows.items():
            where, results = expected[place]
            assert group(row, ["key"]) == where
            assert all(same(row[name], value) for name, value in results.items())
        assert t.late(table) == []
        dead = sorted((d.partition, d.offset) for d in t.dead_letters())
        assert dead == sorted((r.partition, r.offset) for r in oracle.refused)
        left = {(r.key, r.window) for r in t.output(table) if r.value is not None}
        assert {(where.key[0], where.window / SECOND) for where, _ in expected.values()} <= left


class Hit(flows.Record):
    page: str
    at: float | None


def test_a_window_is_shown_once_complete_and_silence_does_not_complete_it() -> None:
    app = flows.App("web")
    hits = app.topic("hits", value=Hit, key="page", timestamp="at")
    threes = hits.window(count_window(3, emit="close")).agg(hits=count(), at=last("at")).table("threes")
    with app.test() as t:
        for at in (10.0, 12.0):
            t.send(hits, Hit("a", at))
        t.advance("1h")
        assert t.table(threes).rows() == []
        t.crash()
        with t.batch():
            for at in (11.0, 5.0, 9.0):
                t.send(hits, Hit("a", at))
        row = {"page": "a", "window_start": 10.0, "window_end": 12.0, "window_number": 0, "hits": 3, "at": 12.0}
        assert t.table(threes).rows() == [row]
        assert [(c.key, c.window, c.value) for c in t.output(threes)] == [("a", 10.0, row)]
        t.send(hits, Hit("a", 1.0))
        assert t.table(threes).get("a", window=5.0) == {
            "page": "a", "window_start": 5.0, "window_end": 9.0, "window_number": 1, "hits": 3, "at": 9.0,
        }  # fmt: skip
