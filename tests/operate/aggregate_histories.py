"""Random events for aggregates, of all kinds of values, and how results are compared."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

from hypothesis import strategies as st

from dsl.plan.types import Kind
from tests.oracle.aggregates import Event

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
ORDERED = [kind.value for kind in Kind if kind.is_ordered]

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1), st.sampled_from([-(2**63), 2**63 - 1])),
    "float": st.one_of(
        st.sampled_from([0.0, -0.0, 0.1, -1.5, 1e16, -1e16, 5e-324, math.inf, -math.inf, math.nan]),
        st.floats(-1e300, 1e300),
    ),
    "str": st.text("aéz😀\x00", max_size=3),
    "bool": st.booleans(),
    "bytes": st.binary(max_size=3),
    "datetime": st.integers(-(10**15), 10**15).map(lambda us: EPOCH + dt.timedelta(microseconds=us)),
    "date": st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1)),
    "duration": st.integers(-(10**12), 10**12).map(lambda us: dt.timedelta(microseconds=us)),
    "other": st.none(),
}


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Draw events of a few keys, times and partitions; a third of the values are null; offsets ascend."""
    count = draw(st.integers(0, 20))
    offsets = [0, 0]
    events = []
    for _ in range(count):
        partition = draw(st.integers(0, 1))
        offsets[partition] += draw(st.sampled_from([0, 1, 1]))  # 0: a flat_map gave two records of one
        values = {k: draw(st.one_of(v, v, st.none())) for k, v in VALUES.items()}
        key, time = draw(st.sampled_from("abc")), draw(st.integers(-2, 2))
        events.append(Event(key, time, partition, offsets[partition], values))
    return events


CUTS = st.lists(st.integers(0, 20), max_size=6)


def event(key: str = "a", time: int = 0, offset: int = 0, **values: Any) -> Event:
    return Event(key, time, 0, offset, dict.fromkeys(VALUES) | values)


def same(got: Any, expected: Any) -> bool:
    """Compare, NaN equal to itself and 1 not to True."""
    if isinstance(got, float) and isinstance(expected, float):
        return got == expected or (math.isnan(got) and math.isnan(expected))
    return type(got) is type(expected) and got == expected


def close(got: float | None, expected: float | None, slack: float, rel_tol: float = 1e-12) -> bool:
    if got is None or expected is None:
        return got is expected
    return same(got, expected) or math.isclose(got, expected, rel_tol=rel_tol, abs_tol=slack)
