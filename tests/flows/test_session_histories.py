"""Sessions against the naive oracle: random, disordered histories, cut in many ways."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from flows import session
from flows.operate.sessions import follow
from tests.drawn import drawn
from tests.flows.histories import CUTS, DECLARED, NAIVE, SECOND, compare, histories
from tests.oracle.sessions import SessionOracle, Sessions
from tests.oracle.tables import Sent

SHAPES: dict[str, tuple[Any, Sessions]] = {
    "no grace": (session("5s"), Sessions(5)),
    "grace": (session("5s", grace="9s"), Sessions(5, 9)),
    "long gap": (session("20s", grace="3s"), Sessions(20, 3)),
    "long grace": (session("4s", grace="1000s"), Sessions(4, 1000)),
    "retention": (session("5s", grace="2s", retention="11s"), Sessions(5, 2, 11)),
    "retention of nothing": (session("3s", retention=0), Sessions(3, 0, 0)),
    "close": (session("5s", grace="4s", emit="close"), Sessions(5, 4, closes=True)),
    "close, no grace": (session("2s", emit="close"), Sessions(2, closes=True)),
    "close, retention": (session("6s", grace="2s", emit="close", retention="10s"), Sessions(6, 2, 10, closes=True)),
}


def in_microseconds(s: Sessions) -> Sessions:
    keep = None if s.retention is None else s.retention * SECOND
    return Sessions(s.gap * SECOND, s.grace * SECOND, keep, s.closes)


@pytest.mark.parametrize("shape", SHAPES)
@drawn(14)
@given(histories(2), CUTS)
def test_sessions_of_a_topic_keyed_by_the_group(shape: str, history: list[Sent], cuts: list[str]) -> None:
    window, naive = SHAPES[shape]
    oracle = SessionOracle(["key"], in_microseconds(naive), NAIVE)
    compare(lambda topic: topic.window(window).agg(**DECLARED).table("t"), oracle, history, cuts, 2)


@pytest.mark.parametrize("shape", ["grace", "close, retention"])
@drawn(12)
@given(histories(1), CUTS)
def test_sessions_behind_a_repartition_by_two_columns(shape: str, history: list[Sent], cuts: list[str]) -> None:
    window, naive = SHAPES[shape]
    oracle = SessionOracle(["other", "n"], in_microseconds(naive), NAIVE)

    def table_of(topic: Any) -> Any:
        grouped = topic.group_by("other", "n", partitions=3)
        return grouped.window(window).agg(**DECLARED, key=flows.last("key")).table("t")

    compare(table_of, oracle, history, cuts, 1)


TIMES = st.lists(st.integers(0, 60), max_size=12)


@given(TIMES, st.integers(1, 8))
def test_followed_in_order_sessions_are_the_gaps_of_the_sorted_times(times: list[int], gap: int) -> None:
    found = follow([], [(place, time, 0) for place, time in enumerate(times)], gap, 0)
    assert found.late == []
    expected: list[list[int]] = []
    for time in sorted(times):
        if expected and time - expected[-1][-1] <= gap:
            expected[-1].append(time)
        else:
            expected.append([time])
    assert sorted(sorted(times[row] for row in s.rows) for s in found.sessions) == expected
