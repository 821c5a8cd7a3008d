"""The auction house in tests: the events as frames for SQL, and sent through a query in batches, with crashes."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import msgspec
import polars as pl

import flows
from flows.testing import Driver

FOLDER = Path(__file__).parents[2] / "examples" / "03_nexmark"
COUNT = 6_000
"""Half a minute: three windows of ten seconds."""

Rows = list[tuple[Any, ...]]


def query(name: str) -> ModuleType:
    """Import a query of the example anew: apps of two tests share nothing."""
    sys.modules.pop(name, None)
    sys.path.insert(0, str(FOLDER))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(FOLDER))


@cache
def events(count: int = COUNT) -> list[tuple[str, Any]]:
    """Return the first events, each with its topic."""
    made = query("events").events(count)
    return [(f"nexmark-{type(event).__name__.lower()}s", event) for event in made]


@cache
def _frame(kind: str) -> pl.DataFrame:
    rows = [msgspec.structs.asdict(event) for topic, event in events() if topic == f"nexmark-{kind}s"]
    return pl.DataFrame(rows).rename({"at": "ts"})  # "at" is a word of DuckDB's


def sql(text: str, **frames: pl.DataFrame) -> Rows:
    """Run SQL over the events, tables `person`, `auction` and `bid`; the rows in order."""
    with duckdb.connect() as connection:
        for name in ("person", "auction", "bid"):
            connection.register(name, _frame(name).to_arrow())
        for name, frame in frames.items():
            connection.register(name, frame.to_arrow())
        return sorted(connection.execute(text).fetchall())


def play(t: Driver, batch: int, crashes: bool) -> None:
    """Send all events in batches; with `crashes`, each third batch is cut by a crash, or followed by a move."""
    sent = events()
    for number, begin in enumerate(range(0, len(sent), batch)):
        with t.batch():
            for topic, event in sent[begin : begin + batch]:
                t.send(topic, event)
            if crashes and number % 3 == 1:
                t.crash()
        if crashes and number % 6 == 5:
            t.rebalance()
    t.advance("1m")  # silence: the last windows close


def rows(t: Driver, table: str, *columns: str) -> Rows:
    return sorted(tuple(row[column] for column in columns) for row in t.table(table).rows())


def output(t: Driver, topic: flows.Topic, *columns: str) -> Rows:
    return sorted(tuple(record.value[column] for column in columns) for record in t.output(topic))
