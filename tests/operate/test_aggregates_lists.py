"""Aggregates whose results are lists, and those that pick a record, against the naive oracle on random histories."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.aggregate import Aggregate, arg_max, arg_min, collect, histogram, quantile, top_k
from tests.drawn import drawn
from tests.operate.aggregate_histories import CUTS, ORDERED, event, histories, same
from tests.operate.aggregate_runs import aggregation, groups, result, run
from tests.oracle.aggregates import FUNCTIONS, Event, numbers

DECLARED: dict[str, tuple[Aggregate, str, dict[str, Any]]] = {
    **{f"arg_min_{by}": (arg_min("int", by=by), "int", {"by": by}) for by in ORDERED},
    **{f"arg_max_{by}": (arg_max("str", by=by), "str", {"by": by}) for by in ORDERED},
    "arg_max_of_time": (arg_max("datetime", by="float"), "datetime", {"by": "float"}),
    **{f"collect_{kind}": (collect(kind, 3), kind, {"limit": 3}) for kind in ORDERED},
    "collect_latest": (collect("str", 2, latest=True), "str", {"limit": 2, "latest": True}),
    **{f"top_{kind}": (top_k(kind, 2), kind, {"k": 2}) for kind in ORDERED},
    "histogram": (histogram("int", [-1, 0.5, 2**62]), "int", {"bounds": [-1.0, 0.5, 2.0**62]}),
    "histogram_float": (histogram("float", [0, 1e16]), "float", {"bounds": [0.0, 1e16]}),
}


@drawn(15)
@given(histories(), CUTS, CUTS)
def test_agrees_with_the_oracle_and_not_with_the_cuts(events: list[Event], batches: list[int], commits: list[int]):
    made = aggregation(**{name: aggregate for name, (aggregate, _, _) in DECLARED.items()})
    states = run(made, events, batches, commits)
    assert states == run(made, events)
    found = result(made, states)
    for key, group in groups(events).items():
        for name, (aggregate, column, options) in DECLARED.items():
            assert alike(found[key][name], FUNCTIONS[aggregate.function](group, column, **options)), name


def alike(got: Any, expected: Any) -> bool:
    """Compare, NaN equal to itself inside of lists too."""
    if isinstance(got, list) and isinstance(expected, list):
        return len(got) == len(expected) and all(map(alike, got, expected))
    return same(got, expected)


@drawn(20)
@given(histories(), st.integers(0, 20))
def test_two_states_combine_to_one(events: list[Event], cut: int):
    made = aggregation(**{name: aggregate for name, (aggregate, _, _) in DECLARED.items()})
    events = [e._replace(key="a") for e in events]
    head, tail = run(made, events[:cut]), run(made, events[cut:])
    if head and tail:
        assert made.combine(head["a"], tail["a"]) == run(made, events)["a"]


@pytest.mark.parametrize("commits", [[], [1], [1, 2]])
def test_of_equals_the_earliest_is_picked(commits: list[int]):
    events = [event(time=2, int=1, float=-0.0), event(time=1, int=2, float=0.0), event(time=3, int=3, float=0.0)]
    made = aggregation(low=arg_min("int", by="float"), high=arg_max("int", by="float"))
    assert result(made, run(made, events, commits, commits))["a"] == {"low": 2, "high": 2, "$time": 3}


@pytest.mark.parametrize("commits", [[], [1]])
def test_without_anything_to_compare_there_is_no_record(commits: list[int]):
    made = aggregation(low=arg_min("int", by="float"), same=arg_max("int", by="int"))
    events = [event(int=1, float=math.nan), event(int=2)]
    assert result(made, run(made, events, commits, commits))["a"] == {"low": None, "same": 2, "$time": 0}


@pytest.mark.parametrize("commits", [[], [1], [1, 2]])
def test_records_of_one_offset_are_collected_in_their_order(commits: list[int]):
    made = aggregation(first=collect("int", 2), last=collect("int", 2, latest=True))
    found = result(made, run(made, [event(int=v) for v in (3, 1, 2)], commits, commits))["a"]
    assert (found["first"], found["last"]) == ([3, 1], [1, 2])


def test_wide_integers_in_lists():
    made = aggregation(all=collect("int"), top=top_k("int"))
    events = [event(int=v, offset=i) for i, v in enumerate([1, 2**63 - 1])]
    wide = made.load(list(run(made, events).values()))
    assert made.combine(*run(made, events).values(), made.merge([None], wide)[0])


@drawn(30)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 12) | st.just(0)), max_size=60), CUTS, CUTS)
def test_beyond_the_capacity_counts_stay_within_the_error(
    drawn: list[tuple[str, int]], batches: list[int], commits: list[int]
):
    capacity = 4
    made = aggregation(top=top_k("int", capacity, capacity=capacity))
    events = [event(key, int=value) for key, value in drawn]
    found = result(made, run(made, events, batches, commits))
    for key, group in groups(events).items():
        values = numbers(group, "int")
        most = len(values) // (capacity + 1)
        top = {row["value"]: row for row in found[key]["top"]}
        assert all(row["error"] <= most for row in top.values())
        assert all(row["count"] <= values.count(v) <= row["count"] + row["error"] for v, row in top.items())
        assert {v for v in values if values.count(v) > most} <= top.keys()
        if len(set(values)) <= capacity:
            assert found[key]["top"] == FUNCTIONS["top_k"](group, "int", k=capacity)


@drawn(40)
@given(st.lists(st.floats(allow_nan=False) | st.integers(-5, 5).map(float), max_size=150), CUTS, CUTS)
def test_buckets_of_a_histogram_hold_their_values(values: list[float], batches: list[int], commits: list[int]):
    made = aggregation(spread=histogram("float", error=0.05), median=quantile("float", 0.5, error=0.05))
    states = run(made, [event(float=v) for v in values], batches, commits)
    if not values:
        return
    found = result(made, states)["a"]["spread"]
    assert found == result(made, run(made, [event(float=v) for v in values]))["a"]["spread"]
    assert sum(bucket["count"] for bucket in found) == len(values)
    for bucket in found:
        low, high = bucket["low"], bucket["high"]
        slack = 1e-12 * max(abs(low), abs(high)) if math.isfinite(low) and math.isfinite(high) else 0.0
        assert bucket["count"] <= sum(low - slack <= v <= high + slack for v in values)
        small = min(abs(low), abs(high))
        assert low == high or small < 1e-300 or abs(low / high - high / low) < 0.23
    ends = [end for bucket in found for end in (bucket["low"], bucket["high"])]
    assert ends == sorted(ends)


def test_a_histogram_and_a_quantile_share_what_they_keep():
    made = aggregation(spread=histogram("float"), median=quantile("float", 0.5))
    assert [name for name, _ in made.inputs] == ["$a0"]
    found = result(made, run(made, [event(float=v) for v in (0.0, 1.0, -1.0, 1.0, math.inf)]))["a"]
    assert [bucket["count"] for bucket in found["spread"]] == [1, 1, 2, 1]
    assert found["spread"][1] == {"low": 0.0, "high": 0.0, "count": 1}
    assert found["spread"][3] == {"low": math.inf, "high": math.inf, "count": 1}


def test_of_nothing():
    made = aggregation(
        all=collect("str"), top=top_k("date"), spread=histogram("int"), counts=histogram("int", [0]),
        at=arg_min("date", by="int"),
    )  # fmt: skip
    found = result(made, run(made, [event(), event()], (), [1]))["a"]
    assert found == {
        "all": [], "top": [], "spread": [], "at": None, "$time": 0,
        "counts": [{"low": None, "high": 0.0, "count": 0}, {"low": 0.0, "high": None, "count": 0}],
    }  # fmt: skip
    assert (
        made.results([]).schema
        == made.results(list(run(made, [event(date=dt.date(2013, 1, 1), int=1)]).values())).schema
    )
