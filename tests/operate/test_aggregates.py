"""Aggregates against the naive oracle on random histories, cut in random ways into batches and commits."""

from __future__ import annotations

import builtins
import math
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.aggregate import approx_distinct, count, first, last, max, mean, min, quantile, sum
from tests.drawn import drawn
from tests.operate.aggregate_histories import CUTS, ORDERED, VALUES, close, event, histories, same
from tests.operate.aggregate_runs import aggregation, columns, frame, groups, result, run
from tests.oracle import aggregates as oracle
from tests.oracle.aggregates import FUNCTIONS, Event

EXACT = {
    "n": count(),
    **{f"count_{kind}": count(kind) for kind in VALUES if kind != "other"},
    "sum": sum("int"),
    **{f"{aggregate.__name__}_{kind}": aggregate(kind) for aggregate in (min, max, first, last) for kind in ORDERED},
    "median": quantile("float", 0.5),
    "low": quantile("float", 0.1),
    "low_int": quantile("int", 0.1),
}


@drawn(40)
@given(histories(), CUTS, CUTS)
def test_agrees_with_the_oracle_and_not_with_the_cuts(events: list[Event], batches: list[int], commits: list[int]):
    made = aggregation(**EXACT)
    states = run(made, events, batches, commits)
    assert states == run(made, events)
    found = result(made, states)
    assert found.keys() == groups(events).keys()
    for key, group in groups(events).items():
        assert found[key].pop("$time") == builtins.max(e.time for e in group)
        for call in made.calls:
            column = columns_of(call)
            options = {"q": dict(call.options)["q"]} if call.function == "quantile" else {}
            expected = FUNCTIONS[call.function](group, column, **options)
            got = found[key][call.name]
            # Between two values the interpolation may cancel: then it is exact to their size, not to its own.
            slack = 1e-15 * largest(group, column)
            close_enough = call.function == "quantile" and close(got, expected, slack, rel_tol=1e-15)
            assert close_enough or same(got, expected), call.name


def largest(group: list[Event], column: str | None) -> float:
    """Return the largest finite magnitude in a column of numbers."""
    numbers = [e.values[column] for e in group if column is not None and isinstance(e.values[column], int | float)]
    return builtins.max((abs(v) for v in numbers if math.isfinite(v)), default=0.0)


def columns_of(call: Any) -> str | None:
    return None if call.argument is None else call.argument.name


@drawn(60)
@given(histories(), CUTS, CUTS)
def test_float_sums_keep_what_rounding_takes(events: list[Event], batches: list[int], commits: list[int]):
    made = aggregation(total=sum("float"), mean=mean("float"), mean_int=mean("int"))
    found = result(made, run(made, events, batches, commits))
    for key, group in groups(events).items():
        values = oracle.present(group, "float")
        exact = oracle.total(group, "float")
        slack = 1e-20 * math.fsum(abs(v) for v in values if math.isfinite(v))
        assert close(found[key]["total"], float(exact), slack)
        mean_ = oracle.mean(group, "float")
        assert close(found[key]["mean"], mean_, slack)
        assert close(found[key]["mean_int"], oracle.mean(group, "int"), 0.0)


@drawn(60)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(1, 2), st.integers(-60, 60)), max_size=20), CUTS, CUTS)
def test_float_sums_are_as_exact_beside_groups_of_any_size(
    drawn: list[tuple[str, float, int]], batches: list[int], commits: list[int]
):
    sizes = {"a": 1e-200, "b": 1.0, "c": 1e250}
    numbers = [(key, v * 2.0**e * sizes[key]) for key, x, e in drawn for v in (2.0**53, x, -(2.0**53))]
    events = [event(key, float=v) for key, v in numbers]
    found = result(aggregation(total=sum("float")), run(aggregation(total=sum("float")), events, batches, commits))
    for key, group in groups(events).items():
        slack = 1e-28 * math.fsum(abs(v) for v in oracle.present(group, "float"))
        assert close(found[key]["total"], float(oracle.total(group, "float")), slack)


def test_a_sum_survives_what_a_plain_one_loses():
    made = aggregation(total=sum("float"))
    events = [event(float=v) for v in (1e16, 1.0, -1e16, 1.0, 0.1, -0.1)]
    for cuts in ([], range(6)):
        assert result(made, run(made, events, (), cuts))["a"]["total"] == 2.0


@pytest.mark.parametrize("cuts", [[], [1], [1, 2, 3]])
def test_integer_sums_beyond_64_bits_are_exact(cuts: list[int]):
    made = aggregation(total=sum("int"), mean=mean("int"))
    for sign in (1, -1):
        events = [event(int=sign * (2**63 - 1)) for _ in range(5)]
        found = result(made, run(made, events, (), cuts))["a"]
        assert found["total"] == sign * 5 * (2**63 - 1)
        assert math.isclose(found["mean"], sign * (2**63 - 1), rel_tol=1e-15)
    back = [event(int=2**63 - 1), event(int=2**63 - 1), event(int=-(2**63)), event(int=-(2**63))]
    assert run(made, back, (), cuts).keys() == {"a"}
    assert made.results(list(run(made, back, (), cuts).values()))["total"].to_list() == [-2]


def test_of_nothing():
    made = aggregation(
        n=count("int"), total=sum("int"), real=sum("float"), mean=mean("float"), low=min("str"), high=max("float"),
        median=quantile("float", 0.5), kinds=approx_distinct("str"), last=last("int"),
    )  # fmt: skip
    assert result(made, run(made, [event(), event()], (), [1]))["a"] == {
        "n": 0, "total": 0, "real": 0.0, "mean": None, "low": None, "high": None,
        "median": None, "kinds": 0, "last": None, "$time": 0,
    }  # fmt: skip


def test_columns_without_a_type_are_nulls():
    made = aggregation(**EXACT)
    given_ = frame(made, [event(), event(int=5)])
    untyped = given_.with_columns(pl.lit(None).alias(name) for name, column in columns(made).items())
    state = made.merge([None], made.gather([made.partial(untyped, ["key"])], ["key"]))
    assert state == list(run(made, [event(), event()]).values())


def test_no_rows_and_no_states():
    made = aggregation(**EXACT, total=sum("float"), kinds=approx_distinct("str"))
    nothing = made.partial(frame(made, []), ["key"])
    assert nothing.height == 0
    assert made.gather([], ["key"]).height == 0
    assert made.gather([nothing, nothing], ["key"]).columns == nothing.columns
    assert made.merge([], nothing) == []
    assert made.results([]).schema == made.results(list(run(made, [event()]).values())).schema
    one = made.partial(frame(made, [event(int=1)]), ["key"])
    assert made.gather([nothing, one, nothing], ["key"]).equals(one)
    assert made.merge([None], made.gather([made.gather([], ["key"]), one], ["key"])) == made.merge([None], one)


def test_rows_of_one_partial_may_be_of_one_group():
    """Panes spread over hopping windows are; a caller that knows better skips the grouping."""
    made = aggregation(n=count(), last=last("int"))
    one = made.partial(frame(made, [event(int=1, offset=1)]), ["key"])
    assert made.gather([pl.concat([one, one])], ["key"])["$s0"].to_list() == [2]
    assert made.gather([one], ["key"], distinct=True) is one


@pytest.mark.parametrize("commits", [[], [1]])
def test_records_of_one_offset_keep_their_order(commits: list[int]):
    """What a flat_map makes of one record has one time, partition and offset."""
    made = aggregation(first=first("int"), last=last("int"))
    found = result(made, run(made, [event(int=1), event(int=2)], commits, commits))
    assert found["a"] == {"first": 1, "last": 2, "$time": 0}
    assert run(made, [event(int=1), event(int=2)], commits) == run(made, [event(int=1), event(int=2)])


@pytest.mark.parametrize("zeros", [[0.0, -0.0], [-0.0, 0.0]])
def test_of_two_zeros_the_positive_one_is_kept(zeros: list[float]):
    made = aggregation(low=min("float"), high=max("float"), median=quantile("float", 0.0))
    for cuts in ([], [1]):
        found = result(made, run(made, [event(float=v) for v in zeros], (), cuts))["a"]
        assert [math.copysign(1, found[name]) for name in ("low", "high", "median")] == [1, 1, 1]


def test_grouping_by_several_columns_and_nulls():
    made = aggregation(n=count(), median=quantile("int", 0.5))
    rows = frame(made, [event(int=i) for i in range(4)]).with_columns(
        pl.Series("window", [1, 1, 2, 2]), pl.Series("carrier", [None, None, None, "x"])
    )
    by = ["carrier", "window"]
    gathered = made.gather([made.partial(rows, by), made.partial(rows, by)], by).sort(by)
    assert gathered.select(by).rows() == [(None, 1), (None, 2), ("x", 2)]
    assert made.results(made.merge([None] * 3, gathered))["n"].to_list() == [4, 2, 2]
    assert made.results(made.merge([None] * 3, gathered))["median"].to_list() == [0.5, 2.0, 3.0]


@drawn(20)
@given(histories(), st.integers(0, 20))
def test_two_states_combine_to_one(events: list[Event], cut: int):
    made = aggregation(**EXACT, kinds=approx_distinct("int"))
    events = [e._replace(key="a") for e in events]
    head, tail = run(made, events[:cut]), run(made, events[cut:])
    if head and tail:
        assert made.combine(head["a"], tail["a"]) == run(made, events)["a"]


def test_arguments_and_cells_are_shared():
    made = aggregation(a=sum("int"), b=mean("int"), c=count("int"), d=quantile("int", 0.5), e=quantile("int", 0.9))
    assert [name for name, _ in made.inputs] == ["$a0"]
    assert not made.needs_order
    assert aggregation(a=first("int")).needs_order
    partial = made.partial(frame(made, [event(int=1)]), ["key"])
    assert partial.columns[:5] == ["key", "$s_time", "$s0", "$s1", "$s2_values"]
