"""The examples in docstrings run, and everything that a person writes in a flow module has one.

Those of the language go on from `scene()`, as its first lines say: an app, and a topic of departures.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import flows
from dsl.agent import Agent
from dsl.grouped import Grouped

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for room in ("dsl", "flows") for path in (ROOT / room).rglob("*.py"))
WITH_EXAMPLES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in SOURCES
    if ">>>" in path.read_text(encoding="utf-8")
]


class Departure(flows.Record):
    carrier: str
    origin: str
    delay: float | None = None
    at: float = 0.0


def aggregated(**aggregates: Any) -> dict[str, Any]:
    """Return what aggregates make of four departures."""
    app, departures = scene()["app"], "departures"
    table = app._topics[departures].group_by("origin").agg(**aggregates).table("t")
    with app.test() as t:
        for at, (carrier, delay) in enumerate((("UA", 5.0), ("DL", 90.0), ("UA", None), ("AA", 30.0))):
            t.send(departures, Departure(carrier, "JFK", delay, 60.0 * at))
        (row,) = t.table(table).rows()
    return {name: row[name] for name in aggregates}


def scene() -> dict[str, Any]:
    """Return the names that examples of the language begin with."""
    app = flows.App("airport")
    departures = app.topic("departures", value=Departure, key="origin", timestamp="at")
    names = {name: getattr(flows, name) for name in flows.__all__}
    return names | {
        "flows": flows, "app": app, "Departure": Departure, "departures": departures, "aggregated": aggregated,
    }  # fmt: skip


def examples(module: ModuleType) -> Iterator[doctest.DocTest]:
    for test in doctest.DocTestFinder(exclude_empty=True).find(module):
        if test.examples:
            test.globs.update(scene() if module.__name__.startswith("dsl.") else {})
            yield test


def test_there_are_examples() -> None:
    assert {"dsl.durations", "dsl.window", "dsl.record", "flows.clock"} <= set(WITH_EXAMPLES)


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples_run(module: str) -> None:
    runner, said = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS), list[str]()
    for test in examples(importlib.import_module(module)):
        runner.run(test, out=said.append)
    assert runner.failures == 0, "".join(said)


TOLD_ELSEWHERE = {"main", "test", "plan", "channel"}
"""Methods that declare nothing."""

SAME = {"kvmap", "kvjoin", "send"}
"""Methods of agents that are what another is, but for one thing."""


def declaring() -> Iterator[tuple[str, Any]]:
    """Yield what a person declares with: functions of the package, and methods of what these give."""
    for name in flows.__all__:
        found = getattr(flows, name)
        if inspect.isfunction(found) or name in ("Avro", "Codec", "Expr", "Record"):
            yield name, found
    for kind in (flows.App, flows.Stream, flows.Table, Grouped):
        for name, method in inspect.getmembers(kind, inspect.isfunction):
            if not name.startswith("_") and name not in TOLD_ELSEWHERE:
                yield f"{kind.__name__}.{name}", method
    yield from (("Topic.table", flows.Topic.table), ("Topic.send", flows.Topic.send))
    for name, method in inspect.getmembers(Agent, inspect.isfunction):
        if not name.startswith("_") and name not in SAME:
            yield f"Agent.{name}", method


@pytest.mark.parametrize("name", dict(declaring()))
def test_what_declares_has_an_example(name: str) -> None:
    assert ">>> " in (dict(declaring())[name].__doc__ or "")
