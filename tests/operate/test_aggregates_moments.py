"""Variances against exact fractions: within 1e-12, relative, wherever the mean lies and however the input is cut."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.aggregate import Aggregate, std, var
from tests.drawn import drawn
from tests.operate.aggregate_histories import CUTS, close, event, histories
from tests.operate.aggregate_runs import aggregation, groups, result, run
from tests.oracle import aggregates as oracle
from tests.oracle.aggregates import Event

MOMENTS: dict[str, Aggregate] = {
    "var": var("float"),
    "all": var("float", ddof=0),
    "std": std("float"),
    "ints": var("int"),
}


def check(events: list[Event], batches: list[int], commits: list[int]) -> None:
    found = result(aggregation(**MOMENTS), run(aggregation(**MOMENTS), events, batches, commits))
    for key, group in groups(events).items():
        assert close(found[key]["var"], oracle.variance(group, "float"), 0.0)
        assert close(found[key]["all"], oracle.variance(group, "float", 0), 0.0)
        assert close(found[key]["std"], oracle.deviation(group, "float"), 0.0)
        assert close(found[key]["ints"], oracle.variance(group, "int"), 0.0)


NEAR = st.tuples(st.integers(-3, 3), st.integers(0, 2**10)).map(lambda t: t[0] * 1e9 + t[1] * 2.0**-20)
"""Numbers of which some are apart by a millionth, and some by billions."""


@drawn(60)
@given(
    st.lists(st.tuples(st.sampled_from("aab"), st.none() | NEAR | st.floats(-1e100, 1e100)), max_size=25), CUTS, CUTS
)
def test_variances_are_exact_to_the_last_digits(
    drawn: list[tuple[str, float | None]], batches: list[int], commits: list[int]
):
    check([event(key, float=v) for key, v in drawn], batches, commits)


@drawn(40)
@given(st.sampled_from([1.0, 1e8, 1e15, -1e15, 2.0**60]), st.lists(st.integers(-40, 40), min_size=2, max_size=40), CUTS)
def test_a_mean_far_from_zero_costs_no_digits(mean: float, steps: list[int], commits: list[int]):
    """Sums of squares would lose all of them: at 1e15 the square of the mean is 1e30 times the variance."""
    events = [event(float=mean + k * math.ulp(mean), int=2**62 + k) for k in steps]
    check(events, commits, commits)


@drawn(40)
@given(histories(), CUTS, CUTS)
def test_nulls_infinities_and_integers_of_any_size(events: list[Event], batches: list[int], commits: list[int]):
    small = [e._replace(values=e.values | {"float": _within(e.values["float"])}) for e in events]
    check(small, batches, commits)


def _within(value: float | None) -> float | None:
    """Leave out numbers whose squares are beyond the doubles."""
    return value if value is None or not math.isfinite(value) or abs(value) <= 1e150 else 0.5


def test_ten_thousand_commits_lose_nothing():
    made = aggregation(**MOMENTS)
    events = [event(float=1e9 + (i % 7) * 0.1, int=i) for i in range(3000)]
    one = result(made, run(made, events))["a"]
    many = result(made, run(made, events, (), range(0, 3000, 3)))["a"]
    for name in MOMENTS:
        assert close(many[name], one[name], 0.0, rel_tol=1e-14)
    assert close(one["var"], oracle.variance(events, "float"), 0.0, rel_tol=1e-14)


@pytest.mark.parametrize("value", [0.1, 1e16, 123456789.123, -5e-324])
def test_equal_numbers_have_no_variance(value: float):
    for cuts in ([], [1, 2, 5]):
        made = aggregation(a=var("float"))
        assert result(made, run(made, [event(float=value)] * 7, cuts, cuts))["a"]["a"] == 0.0


def test_of_few_numbers():
    made = aggregation(**MOMENTS)
    nothing = result(made, run(made, [event()]))["a"]
    assert [nothing[name] for name in MOMENTS] == [None] * 4
    one = result(made, run(made, [event(float=2.0, int=2), event()], (), [1]))["a"]
    assert [one[name] for name in MOMENTS] == [None, 0.0, None, None]


def test_squares_beyond_the_doubles_are_no_number():
    made = aggregation(a=var("float"), b=var("float", ddof=0))
    for values in ([1e300, -1e300], [math.inf, 1.0], [math.nan, 1.0], [math.inf]):
        found = result(made, run(made, [event(float=v) for v in values], (), [1]))["a"]
        assert math.isnan(found["b"])
