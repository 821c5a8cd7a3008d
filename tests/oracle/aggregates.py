"""Naive aggregates over the full list of a group's records: what `flows/operate/aggregates` must agree with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple


class Event(NamedTuple):
    """One record: where and when it is, its group, and the value of each argument."""

    key: str
    time: int
    partition: int
    offset: int
    values: dict[str, Any]


def present(events: Sequence[Event], column: str) -> list[Any]:
    """Return the values that are not null."""
    return [e.values[column] for e in events if e.values[column] is not None]


def numbers(events: Sequence[Event], column: str) -> list[Any]:
    """Return the values that are neither null nor NaN."""
    return [v for v in present(events, column) if v == v]


def count(events: Sequence[Event], column: str | None) -> int:
    return len(events) if column is None else len(present(events, column))


def total(events: Sequence[Event], column: str) -> Any:
    """Add up exactly; an infinity or NaN among floats decides as IEEE 754 says."""
    values = present(events, column)
    special = [v for v in values if isinstance(v, float) and not math.isfinite(v)]
    if special:
        return sum(special)
    exact = sum(map(Fraction, values))
    return float(exact) if any(isinstance(v, float) for v in values) else int(exact)


def mean(events: Sequence[Event], column: str) -> float | None:
    values = present(events, column)
    return None if not values else total(events, column) / len(values)


def smallest(events: Sequence[Event], column: str) -> Any:
    return min(numbers(events, column), default=None)


def largest(events: Sequence[Event], column: str) -> Any:
    return max(numbers(events, column), default=None)


def _in_order(events: Sequence[Event]) -> list[Event]:
    return sorted(events, key=lambda e: (e.time, e.partition, e.offset))


def earliest(events: Sequence[Event], column: str) -> Any:
    return _in_order(events)[0].values[column]


def latest(events: Sequence[Event], column: str) -> Any:
    return _in_order(events)[-1].values[column]


def quantile(events: Sequence[Event], column: str, q: float) -> float | None:
    """Interpolate between the two neighbours, exactly; an infinite neighbour wins, two opposite ones give NaN."""
    values = sorted(map(float, numbers(events, column)))
    if not values:
        return None
    place = q * (len(values) - 1)
    low, high, part = values[math.floor(place)], values[math.ceil(place)], Fraction(place) % 1
    if part == 0 or low == high:
        return low
    if math.isfinite(low) and math.isfinite(high):
        return float(Fraction(low) + (Fraction(high) - Fraction(low)) * part)
    return low + high


def distinct(events: Sequence[Event], column: str) -> int:
    return len(set(present(events, column)))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "count": count,
    "sum": total,
    "mean": mean,
    "min": smallest,
    "max": largest,
    "first": earliest,
    "last": latest,
    "quantile": quantile,
}
