"""Durations as people write them, and back."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.durations import microseconds, show
from flows import DeclarationError

UNITS = {"us": 1, "ms": 10**3, "s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6, "w": 604800 * 10**6}


@given(st.integers(0, 10**18))
def test_what_is_shown_reads_back(us: int) -> None:
    assert microseconds(show(us)) == us


@given(
    st.lists(st.tuples(st.integers(0, 9999), st.sampled_from(sorted(UNITS)), st.sampled_from(["", " "])), min_size=1)
)
def test_parts_add_up(parts: list[tuple[int, str, str]]) -> None:
    text = "".join(f"{count}{space}{unit}{space}" for count, unit, space in parts)
    assert microseconds(text) == sum(count * UNITS[unit] for count, unit, _ in parts)


@given(st.timedeltas(dt.timedelta(0), dt.timedelta(36500)))
def test_timedeltas_are_exact(value: dt.timedelta) -> None:
    assert microseconds(value) * dt.timedelta(microseconds=1) == value


@pytest.mark.parametrize(
    ("value", "us"),
    [(1, 10**6), (0.25, 250_000), ("1.5h", 5400 * 10**6), ("2d", 2 * UNITS["d"]), (" 10 s ", 10**7), (0, 0), ("0s", 0)],
)
def test_values(value: Any, us: int) -> None:
    assert microseconds(value) == us


@pytest.mark.parametrize("value", ["", "s", "10", "1 hour", "-5s", "5S", "1h,5m", True, None, [], math.inf, math.nan])
def test_what_is_no_duration_is_refused(value: Any) -> None:
    with pytest.raises(DeclarationError, match=r"window size .* is no duration"):
        microseconds(value, "window size")
