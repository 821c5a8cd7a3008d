"""Distinct counts: within the error of HyperLogLog, for every type, the same for all cuts."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.aggregate import approx_distinct
from dsl.plan.types import Kind
from flows.operate.aggregates.hashing import hash_values
from tests.drawn import drawn
from tests.operate.aggregate_runs import DTYPES, aggregation, run
from tests.oracle.aggregates import Event

UTC = dt.UTC


def events(values: Any, column: str = "int") -> list[Event]:
    return [Event("a", 0, 0, i, {column: v}) for i, v in enumerate(values)]


def estimates(values: pl.Series, keys: pl.Series, precision: int = 12) -> list[int]:
    """Count the different integers of each key."""
    made = aggregation(kinds=approx_distinct("int", precision=precision))
    rows = pl.DataFrame({"key": keys, "$time": keys, "$a0": values})
    partial = made.partial(rows, ["key"])
    return made.results(made.merge([None] * partial.height, partial))["kinds"].to_list()


def distinct(values: Any, column: str = "int", precision: int = 12, **cuts: Any) -> int:
    made = aggregation(kinds=approx_distinct(column, precision=precision))
    return int(made.results(list(run(made, events(values, column), **cuts).values()))["kinds"][0])


@pytest.mark.parametrize("precision", [4, 8, 12, 14, 18])
@pytest.mark.parametrize("count", [1, 2, 10, 100, 1000, 5000, 60_000])
def test_the_estimate_is_within_four_standard_errors(count: int, precision: int):
    allowed = max(4 * 1.04 / math.sqrt(2**precision) * count, 0.51)
    for step in (1, -7919):
        values = pl.Series(range(count)) * step
        assert abs(estimates(values, values * 0, precision)[0] - count) <= allowed


@pytest.mark.parametrize("count", [300, 3000, 20_000])
def test_the_errors_of_many_groups_spread_as_stated_and_around_zero(count: int):
    values = pl.Series(range(40 * count))
    errors = [estimate / count - 1 for estimate in estimates(values, values // count, precision=10)]
    spread = math.sqrt(sum(e * e for e in errors) / len(errors))
    assert spread < 1.5 * 1.04 / math.sqrt(2**10)
    assert abs(sum(errors) / len(errors)) < 4 * spread / math.sqrt(len(errors))


VALUES: dict[str, list[Any]] = {
    "int": [0, 1, -1, 2**63 - 1, -(2**63)],
    "float": [0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 5e-324],
    "str": ["", "a", "b", "aa", "a\x00", "é", "x" * 8, "x" * 9, "x" * 64, "x" * 65, "x" * 1000, "x" * 999 + "y"],
    "bool": [True, False],
    "bytes": [b"", b"\x00", b"\x00\x00", b"a", b"\xff" * 8],
    "datetime": [dt.datetime(1970, 1, 1, tzinfo=UTC), dt.datetime(2013, 1, 1, 0, 0, 0, 1, tzinfo=UTC)],
    "date": [dt.date(1970, 1, 1), dt.date(1969, 12, 31), dt.date(2013, 1, 1)],
    "duration": [dt.timedelta(0), dt.timedelta(microseconds=1), dt.timedelta(days=-1)],
}


@pytest.mark.parametrize("column", VALUES)
def test_each_type_is_told_apart(column: str):
    values = VALUES[column]
    assert distinct([*values, None, *reversed(values)], column) == len(values)
    assert distinct([None, None], column) == 0


def test_equal_values_are_one():
    assert distinct([0.0, -0.0], "float") == 1
    assert distinct([math.nan, -math.nan], "float") == 1


def test_an_integer_is_the_same_in_64_and_128_bits():
    small, large = [1, -5, 2**63 - 1], [2**63, -(2**64), 2**90]
    wide = hash_values(pl.Series(small + large, dtype=pl.Int128), Kind.INT).tolist()
    assert wide[:3] == hash_values(pl.Series(small, dtype=pl.Int64), Kind.INT).tolist()
    assert len(set(wide)) == 6


@drawn(25)
@given(
    st.lists(st.integers(0, 300), max_size=400),
    st.lists(st.integers(0, 400), max_size=8),
    st.lists(st.integers(0, 400), max_size=8),
    st.sampled_from([4, 6, 12]),
)
def test_the_registers_do_not_depend_on_the_cuts(
    values: list[int], batches: list[int], commits: list[int], precision: int
):
    """With 16 and 64 registers the groups turn from sparse to dense on the way."""
    made = aggregation(kinds=approx_distinct("int", precision=precision))
    keyed = [e._replace(key="ab"[i % 7 == 0]) for i, e in enumerate(events(values))]
    expected = run(made, keyed)
    assert run(made, keyed, batches, commits) == expected
    assert run(made, keyed + keyed[::-1], batches, commits) == expected


def test_large_groups_do_not_depend_on_the_cuts():
    made = aggregation(kinds=approx_distinct("str"))
    rows = events([f"user-{i % 20_000}" for i in range(25_000)], "str")
    expected = run(made, rows)
    assert run(made, rows, commits=range(0, 25_000, 1700)) == expected
    assert run(made, rows, batches=range(0, 25_000, 900), commits=(600, 12_000)) == expected
    assert run(made, rows[::-1]) == expected


@drawn(25)
@given(st.lists(st.integers(0, 300), max_size=150), st.lists(st.integers(0, 300), max_size=150))
def test_states_combine(head: list[int], tail: list[int]):
    made = aggregation(kinds=approx_distinct("int", precision=6))
    whole = run(made, events([0, *head, 0, *tail]))["a"]
    assert made.combine(run(made, events([0, *head]))["a"], run(made, events([0, *tail]))["a"]) == whole


GOLDEN = {
    "int": [254465, 81473, 46148, 10753, 182084],
    "float": [254465, 91010, 10498, 206401, 4419, 189251, 81473],
    "str": [160385, 47361, 157505, 141378, 172353, 216961, 129665, 249345, 23425, 191235, 30145, 149698],
    "bool": [81473, 254465],
    "bytes": [160385, 216068, 221122, 47361, 46148],
    "datetime": [254465, 28481],
    "date": [254465, 46148, 45825],
    "duration": [254465, 81473, 113346],
}


@pytest.mark.parametrize("column", VALUES)
def test_hashes_stay_what_they_are(column: str):
    """They are in stored states."""
    made = aggregation(kinds=approx_distinct(column))
    values = pl.Series("$a0", VALUES[column], dtype=DTYPES[column])
    rows = pl.DataFrame([pl.Series("key", range(len(values))), pl.Series("$time", [0] * len(values)), values])
    states = made.merge([None] * len(values), made.partial(rows, ["key"]).sort("key"))
    assert [made.load([state])["$s0"].to_list()[0][0] for state in states] == GOLDEN[column]
