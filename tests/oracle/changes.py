"""Tables behind tables, naively: of final rows, and of the rows that a table tells when their windows end."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

from tests.oracle.aggregates import Event
from tests.oracle.tables import Group, TableOracle
from tests.oracle.windows import Windows

Row = dict[str, Any]


def regrouped(rows: Iterable[Row], key: str, aggregates: dict[str, Callable[[list[Row]], Any]]) -> dict[Any, Row]:
    """Aggregate rows by another of their columns; a null is no group."""
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        if row[key] is not None:
            groups[row[key]].append(row)
    return {key: {name: compute(found) for name, compute in aggregates.items()} for key, found in groups.items()}


def values(rows: Iterable[Row], column: str) -> list[Any]:
    return [row[column] for row in rows if row[column] is not None]


def count(rows: Sequence[Row], column: str | None = None) -> int:
    return len(rows) if column is None else len(values(rows, column))


def total(rows: Sequence[Row], column: str) -> Any:
    """Add up exactly; the float nearest to the sum where the values are floats."""
    found = values(rows, column)
    return sum(found) if all(isinstance(v, int) for v in found) and found else float(sum(map(Fraction, found)))


def mean(rows: Sequence[Row], column: str) -> float | None:
    found = values(rows, column)
    return float(sum(map(Fraction, found)) / len(found)) if found else None


def variance(rows: Sequence[Row], column: str) -> float | None:
    """Compute the variance of a sample, the float nearest to it."""
    found = list(map(Fraction, values(rows, column)))
    if len(found) < 2:
        return None
    middle = sum(found) / len(found)
    return float(sum((v - middle) ** 2 for v in found) / (len(found) - 1))


def deviation(rows: Sequence[Row], column: str) -> float | None:
    square = variance(rows, column)
    return None if square is None else math.sqrt(square)


def windows_of_closed_rows(
    first: TableOracle, second: Windows, aggregates: dict[str, Callable[[Sequence[Event]], Any]]
) -> dict[Group, Row]:
    """Put each closed row of a table, at the largest event time that it saw, into windows of its key.

    These close in turn: once all windows of the first table that begin before their end have closed.
    """
    assert isinstance(first.windows, Windows)
    found: dict[Group, list[Event]] = defaultdict(list)
    homes: dict[Group, int] = {}
    for group, row in first.every_row().items():
        events = first._events[group]
        time = max(event.time for event in events)
        event = Event(str(group.key), time, events[0].partition, 0, {**row, "window_start": group.window})
        for start in second.starts(time):
            place = Group(group.key, start, second.end(start))
            found[place].append(event)
            homes[place] = events[0].partition
    return {
        place: {name: compute(events) for name, compute in aggregates.items()}
        for place, events in found.items()
        if place.end is not None and place.end + second.grace <= _open_from(first.windows, first, homes[place])
    }


def _open_from(windows: Windows, first: TableOracle, partition: int) -> int:
    """Return the first start of a window that the partition's stream time leaves open."""
    now = first.stream_time[partition]
    start = (now // windows.step) * windows.step + windows.step
    while windows.end(start - windows.step) + windows.grace > now:
        start -= windows.step
    return start


def joined(
    left: dict[Any, Row], right: dict[Any, Row], how: str, names: Sequence[str], others: Sequence[str]
) -> dict[Any, Row]:
    """Put rows of equal keys side by side; the right side's column `n` is called `n_right`."""
    found = {}
    for key in {*left, *right}:
        if (key not in left and how != "outer") or (key not in right and how == "inner"):
            continue
        mine = {name: left[key][name] if key in left else None for name in names}
        found[key] = mine | {
            f"{name}_right" if name in names else name: right[key][name] if key in right else None for name in others
        }
    return found
