"""Runs events through an aggregation, cut into batches and commits at will."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import polars as pl

from dsl.aggregate import Aggregate
from dsl.plan.exprs import Column
from dsl.plan.types import DataType, Field, Kind, Schema
from flows.operate.aggregates import Aggregation
from tests.oracle.aggregates import Event

SCHEMA = Schema(tuple(Field(kind.value, DataType(kind, nullable=True)) for kind in Kind))
"""One nullable column of each kind, named after it."""

DTYPES: dict[str, Any] = {
    "int": pl.Int64,
    "float": pl.Float64,
    "str": pl.String,
    "bool": pl.Boolean,
    "bytes": pl.Binary,
    "datetime": pl.Datetime("us", "UTC"),
    "date": pl.Date,
    "duration": pl.Duration("us"),
    "other": pl.Object,
}


States = dict[str, bytes]


def aggregation(**aggregates: Aggregate) -> Aggregation:
    """Build the aggregation of a table over `SCHEMA`."""
    return Aggregation([a.bind(name, SCHEMA) for name, a in aggregates.items()])


def columns(made: Aggregation) -> dict[str, str]:
    """Return the event column that each argument column holds."""
    names = {}
    for name, expr in made.inputs:
        assert isinstance(expr, Column)
        names[name] = expr.name
    return names


def frame(made: Aggregation, events: Sequence[Event]) -> pl.DataFrame:
    """Return the frame that a compiled table hands to `partial`."""
    meta = {
        "key": pl.Series([e.key for e in events], dtype=pl.String),
        "$time": pl.Series([e.time for e in events], dtype=pl.Int64),
        "$partition": pl.Series([e.partition for e in events], dtype=pl.Int64),
        "$offset": pl.Series([e.offset for e in events], dtype=pl.Int64),
    }
    arguments = {
        name: pl.Series([e.values[column] for e in events], dtype=DTYPES[column])
        for name, column in columns(made).items()
    }
    return pl.DataFrame(meta | arguments)


def run(made: Aggregation, events: Sequence[Event], batches: Iterable[int] = (), commits: Iterable[int] = ()) -> States:
    """Return the state of each key; batches end at the given places, and at those where commits do."""
    states: States = {}
    for start, end in pairwise(sorted({0, *commits, len(events)})):
        cuts = pairwise(sorted({start, end, *(b for b in batches if start < b < end)}))
        commit(made, states, [events[a:b] for a, b in cuts])
    return states


def commit(made: Aggregation, states: States, batches: Sequence[Sequence[Event]]) -> None:
    """Merge some batches into the states."""
    gathered = made.gather([made.partial(frame(made, batch), ["key"]) for batch in batches], ["key"])
    keys = gathered["key"].to_list()
    states.update(zip(keys, made.merge([states.get(k) for k in keys], gathered), strict=True))


def result(made: Aggregation, states: States) -> dict[str, dict[str, Any]]:
    """Return the results by key and name."""
    rows = made.results(list(states.values())).to_dicts()
    return dict(zip(states, rows, strict=True))


def groups(events: Sequence[Event]) -> dict[str, list[Event]]:
    """Return the events of each key."""
    found: dict[str, list[Event]] = {}
    for event in events:
        found.setdefault(event.key, []).append(event)
    return found
