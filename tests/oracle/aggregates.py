"""Naive aggregates over the full list of a group's records: what `flows/operate/aggregates` must agree with."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
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


def variance(events: Sequence[Event], column: str, ddof: int = 1) -> float | None:
    """Compute exactly, rounding once; NaN where a value is not finite."""
    values = present(events, column)
    if len(values) <= ddof:
        return None
    if not all(math.isfinite(v) for v in values):
        return math.nan
    middle = Fraction(sum(map(Fraction, values))) / len(values)
    return float(sum((Fraction(v) - middle) ** 2 for v in values) / (len(values) - ddof))


def deviation(events: Sequence[Event], column: str, ddof: int = 1) -> float | None:
    square = variance(events, column, ddof)
    return None if square is None else math.sqrt(square)


def at_smallest(events: Sequence[Event], column: str, by: str) -> Any:
    """Take the value in the first of the records whose `by` is smallest."""
    least = smallest(events, by)
    return None if least is None else next(e.values[column] for e in _in_order(events) if e.values[by] == least)


def at_largest(events: Sequence[Event], column: str, by: str) -> Any:
    most = largest(events, by)
    return None if most is None else next(e.values[column] for e in _in_order(events) if e.values[by] == most)


def collected(events: Sequence[Event], column: str, limit: int, latest: bool = False) -> list[Any]:
    values = present(_in_order(events), column)
    return values[-limit:] if latest else values[:limit]


def frequent(events: Sequence[Event], column: str, k: int) -> list[dict[str, Any]]:
    """Count all values; of equally frequent ones the smaller comes first."""
    counts = Counter(numbers(events, column))
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:k]
    return [{"value": value, "count": count, "error": 0} for value, count in top]


def histogram(events: Sequence[Event], column: str, bounds: Sequence[float]) -> list[dict[str, Any]]:
    edges = [-math.inf, *bounds, math.inf]
    values = numbers(events, column)
    found = [{"low": low, "high": high, "count": sum(low <= v < high for v in values)} for low, high in pairwise(edges)]
    found[-1]["count"] += values.count(math.inf)
    found[0]["low"] = found[-1]["high"] = None
    return found


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "count": count,
    "sum": total,
    "mean": mean,
    "min": smallest,
    "max": largest,
    "first": earliest,
    "last": latest,
    "quantile": quantile,
    "var": variance,
    "std": deviation,
    "arg_min": at_smallest,
    "arg_max": at_largest,
    "collect": collected,
    "top_k": frequent,
    "histogram": histogram,
}
