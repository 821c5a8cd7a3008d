"""Quantiles: exact for small groups, within the stated error for large ones, the same for all cuts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.aggregate import quantile
from flows.operate.aggregates.log_buckets import LogBuckets
from tests.drawn import drawn
from tests.operate.aggregate_runs import aggregation, result, run
from tests.oracle.aggregates import Event

Floats = npt.NDArray[np.float64]
QS = (0.0, 0.001, 0.05, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0)
SUBNORMAL = 5e-324


def events(values: Any) -> list[Event]:
    return [Event("a", i, 0, i, {"float": v}) for i, v in enumerate(values)]


def quantiles(error: float = 0.01) -> Any:
    return aggregation(**{f"q{q}": quantile("float", q, error=error) for q in QS})


def found(values: Any, error: float = 0.01, **cuts: Any) -> list[float]:
    made = quantiles(error)
    row = result(made, run(made, events(values), **cuts))["a"]
    return [row[f"q{q}"] for q in QS]


@pytest.mark.parametrize("count", [1, 2, 3, 10, 63, 64])
def test_small_groups_are_as_numpy_has_them(count: int):
    values = np.random.default_rng(count).normal(size=count) * 1000
    assert found(values.tolist()) == np.quantile(values, QS).tolist()


def test_one_value_more_and_it_is_a_sketch():
    values = np.random.default_rng(0).normal(size=65)
    exact, sketched = np.quantile(values, QS), np.array(found(values.tolist()))
    assert (sketched != exact).any()
    assert (np.abs(sketched - exact) <= 0.01 * np.abs(values).max()).all()


def _mixed(rng: np.random.Generator) -> Floats:
    return np.concatenate([rng.normal(size=900), np.zeros(300), -rng.lognormal(3, 2, 900), rng.lognormal(-3, 2, 900)])


DISTRIBUTIONS: dict[str, Any] = {
    "normal": lambda rng: rng.normal(size=3000),
    "far from zero": lambda rng: rng.normal(1e6, 1, 3000),
    "negative": lambda rng: -rng.exponential(50, 3000),
    "heavy tail": lambda rng: rng.pareto(0.5, 3000),
    "many magnitudes": lambda rng: np.exp(rng.uniform(-700, 700, 3000)) * rng.choice([-1, 1], 3000),
    "huge": lambda rng: rng.uniform(1e307, 1.7e308, 3000),
    "tiny": lambda rng: rng.uniform(1e-307, 1e-305, 3000),
    "below normal": lambda rng: rng.integers(0, 5000, 3000) * SUBNORMAL,
    "few values": lambda rng: rng.choice([-1.5, 0.0, 7.0], 3000),
    "one value": lambda rng: np.full(3000, 0.1),
    "powers of two": lambda rng: 2.0 ** rng.integers(-60, 60, 3000),
    "mixed": _mixed,
}


@pytest.mark.parametrize("error", [0.01, 0.001, 0.1])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_large_groups_keep_the_stated_error(name: str, error: float):
    """The two neighbours of a rank are each within the error, so what lies between them is too."""
    values = np.sort(DISTRIBUTIONS[name](np.random.default_rng(1)))
    for q, got in zip(QS, found(values.tolist(), error), strict=True):
        place = q * (len(values) - 1)
        low, high, part = values[math.floor(place)], values[math.ceil(place)], place % 1
        allowed = error * (abs(low) * (1 - part) + abs(high) * part) * (1 + 1e-9) + SUBNORMAL
        assert abs(got - (low * (1 - part) + high * part)) <= allowed, q


def test_the_ends_are_exact():
    values = np.random.default_rng(2).lognormal(size=500)
    assert (found(values.tolist())[0], found(values.tolist())[-1]) == (values.min(), values.max())


def test_infinities_have_their_place_and_nan_has_none():
    values = [math.inf] * 30 + [-math.inf] * 30 + [1.0] * 41 + [math.nan, None] * 50
    assert found(values)[0] == -math.inf
    assert found(values)[QS.index(0.5)] == pytest.approx(1.0, rel=0.01)
    assert found(values)[-1] == math.inf
    assert found(values, commits=range(0, 200, 7)) == found(values)


@drawn(30)
@given(st.integers(0, 2**32), st.integers(0, 400), st.lists(st.integers(0, 400), max_size=8), st.booleans())
def test_the_state_does_not_depend_on_the_cuts(seed: int, count: int, cuts: list[int], as_commits: bool):
    rng = np.random.default_rng(seed)
    values = rng.permutation(_mixed(rng))[:count].round(1).tolist()
    made = quantiles()
    keyed = [e._replace(key="ab"[i % 5 == 0]) for i, e in enumerate(events(values))]
    expected = run(made, keyed)
    assert run(made, keyed, commits=cuts if as_commits else (), batches=cuts) == expected
    shuffled = [keyed[i]._replace(time=0) for i in rng.permutation(len(keyed))]
    assert {k: made.results([v])["q0.9"][0] for k, v in run(made, shuffled, cuts).items()} == {
        k: made.results([v])["q0.9"][0] for k, v in expected.items()
    }


FLOATS = st.floats(allow_nan=False) | st.floats(0, 1e-300) | st.floats(0.9, 2.1)


@drawn(60)
@given(st.lists(FLOATS, min_size=1), st.sampled_from([0.0001, 0.01, 0.07, 0.5]))
def test_a_bucket_is_near_all_its_values(values: list[float], error: float):
    buckets = LogBuckets(error)
    numbers = buckets.number(np.array(values))
    for value, number, estimate in zip(values, numbers, buckets.estimate(numbers), strict=True):
        if math.isinf(value):
            assert estimate == value
        elif abs(value) < 1.7e308:  # above, the estimate may overflow; the largest value known bounds it
            assert abs(estimate - value) <= error * abs(value) * (1 + 1e-9) + SUBNORMAL / 2
        assert -(2**31) < number < 2**31


@drawn(60)
@given(st.lists(FLOATS), st.sampled_from([0.0001, 0.01, 0.5]))
def test_bucket_numbers_ascend_with_the_values(values: list[float], error: float):
    numbers = LogBuckets(error).number(np.array(sorted(values)))
    assert (np.diff(numbers) >= 0).all()


def test_bucket_numbers_stay_what_they_are():
    """They are in stored states."""
    values = [0.0, 1.0, -1.0, 0.1, 1234.5678, -5e-324, 1.7e308, math.inf]
    expected = [0, 37800, -37800, 37683, 38159, -211, 73636, 75600]
    assert LogBuckets(0.01).number(np.array(values)).tolist() == expected
