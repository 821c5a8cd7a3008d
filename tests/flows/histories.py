"""Random histories for tables, cut into batches, commits, crashes and moves at will; and their comparison."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from hypothesis import strategies as st

import flows
from flows import (
    approx_distinct,
    arg_max,
    collect,
    count,
    first,
    fold,
    histogram,
    last,
    max,
    mean,
    min,
    quantile,
    std,
    sum,
    top_k,
)
from flows.testing import Driver
from tests.oracle import aggregates as naive
from tests.oracle.aggregates import Event
from tests.oracle.tables import Group, Sent, TableOracle

SECOND = 1_000_000


class Reading(flows.Record):
    key: str | None
    other: str | None
    n: int | None
    x: float | None
    text: str | None
    at: float | None


def tally(counts: dict[str, int], reading: Any) -> dict[str, int]:
    """Count texts, by a function that a fold calls."""
    return {**counts, f"{reading.text}": counts.get(f"{reading.text}", 0) + 1}


def tally_both(earlier: dict[str, int], later: dict[str, int]) -> dict[str, int]:
    return {text: earlier.get(text, 0) + later.get(text, 0) for text in {**earlier, **later}}


def tallied(events: Sequence[Event]) -> dict[str, int]:
    return dict(Counter(f"{event.values['text']}" for event in events))


AGGREGATES: dict[str, tuple[Any, Callable[..., Any]]] = {
    "records": (count(), partial(naive.count, column=None)),
    "with_n": (count("n"), partial(naive.count, column="n")),
    "sum_n": (sum("n"), partial(naive.total, column="n")),
    "sum_x": (sum("x"), partial(naive.total, column="x")),
    "mean_x": (mean("x"), partial(naive.mean, column="x")),
    "min_n": (min("n"), partial(naive.smallest, column="n")),
    "max_x": (max("x"), partial(naive.largest, column="x")),
    "max_text": (max("text"), partial(naive.largest, column="text")),
    "first_n": (first("n"), partial(naive.earliest, column="n")),
    "last_text": (last("text"), partial(naive.latest, column="text")),
    "median": (quantile("x", 0.5), partial(naive.quantile, column="x", q=0.5)),
    "std_x": (std("x"), partial(naive.deviation, column="x")),
    "text_at_max": (arg_max("text", by="x"), partial(naive.at_largest, column="text", by="x")),
    "texts_in_order": (collect("text", 3), partial(naive.collected, column="text", limit=3)),
    "last_two": (collect("n", 2, latest=True), partial(naive.collected, column="n", limit=2, latest=True)),
    "frequent": (top_k("text", 2), partial(naive.frequent, column="text", k=2)),
    "sizes": (histogram("n", [-2, 0, 2**62]), partial(naive.histogram, column="n", bounds=[-2, 0, 2**62])),
    "tally": (fold(dict, tally, tally_both), tallied),
    "texts": (approx_distinct("text"), partial(naive.distinct, column="text")),
}
"""Each aggregate beside its naive form."""

DECLARED = {name: declared for name, (declared, _) in AGGREGATES.items()}
NAIVE = {name: compute for name, (_, compute) in AGGREGATES.items()}

_KEYS = st.sampled_from(["a", "b", "c", "d", None])
_FIELDS = st.fixed_dictionaries(
    {
        "key": _KEYS,
        "other": st.sampled_from(["p", "q", "r", "q", None]),
        "n": st.one_of(st.none(), st.integers(-5, 5), st.sampled_from([2**62, -(2**62)])),
        "x": st.one_of(st.none(), st.floats(-100, 100, width=32)),
        "text": st.sampled_from([None, "", "x", "é", "zz"]),
    }
)
_STEP = st.integers(0, 4) | st.sampled_from([0, 0, 25])
_BACK = st.sampled_from([0, 0, 0, 1, 2, 5, 9, 20, 40, 90])


def histories(partitions: int = 1, *, most: int = 25) -> st.SearchStrategy[list[Sent]]:
    """Make histories: time goes on by some seconds a record, and most records are late by some."""
    record = st.tuples(_FIELDS, _STEP, _BACK, st.sampled_from([False] * 9 + [True]))
    return st.lists(record, max_size=most).map(partial(_timed, partitions))


def _timed(partitions: int, drawn: list[tuple[dict[str, Any], int, int, bool]]) -> list[Sent]:
    history, clock = [], 100
    for fields, step, back, timeless in drawn:
        clock += step
        at = None if timeless else clock - back
        partition = 0 if fields["key"] is None else ord(fields["key"]) % partitions
        history.append(Sent(partition, None if at is None else at * SECOND, {**fields, "at": at}))
    return history


CUTS = st.lists(st.sampled_from(["one", "batch", "batch", "crash", "crash in batch", "rebalance"]), max_size=8)


def play(t: Driver, topic: flows.Topic, history: Sequence[Sent], cuts: Sequence[str]) -> None:
    """Send a history, each cut in turn saying how far the next commit goes and what happens then.

    Chunks and fetches are small too, in ways that depend on the cuts, so that batches and commits end anywhere.
    """
    t._env.chunk, t._env.fetch_records, t._env.commit_rows = 1 + len(cuts) % 3, 1 + len(cuts) % 4, 1 + len(cuts) * 2
    t.rebalance()
    left, turn = list(history), 0
    while left:
        cut = cuts[turn % len(cuts)] if cuts else "one"
        turn += 1
        length = 1 + turn % 5 if "batch" in cut else 1
        with t.batch():
            for sent in left[:length]:
                t.send(topic, Reading(**sent.fields), partition=sent.partition)
            if cut == "crash in batch":
                t.crash()
        left = left[length:]
        if cut in ("crash", "rebalance"):
            getattr(t, cut)()


def compare(table_of: Any, oracle: TableOracle, history: list[Sent], cuts: list[str], partitions: int) -> None:
    """Play a history to a table and to its oracle, and compare all that they show."""
    app = flows.App("o")
    topic = app.topic("readings", value=Reading, key="key", timestamp="at", partitions=partitions)
    table = table_of(topic)
    for sent in history:
        oracle.add(sent)
    with app.test() as t:
        play(t, topic, history, cuts)
        check(t, table, oracle)


def check(t: Driver, table: flows.Table, oracle: TableOracle) -> None:
    """Compare everything that a table shows with its oracle."""
    expected = oracle.rows()
    rows = {group(row, table.keys): row for row in t.table(table).rows()}
    assert rows.keys() == expected.keys()
    for place, row in rows.items():
        for name, value in expected[place].items():
            assert same(row[name], value), (place, name, row[name], value)
    late = sorted(((r.value["key"], r.timestamp, tuple(r.windows)) for r in t.late(table)), key=str)
    assert late == sorted(
        ((r.fields["key"], r.time / SECOND, tuple(w / SECOND for w in r.windows)) for r in oracle.late), key=str
    )
    dead = sorted((d.partition, d.offset, d.reason.split(" for ")[0].split(", so")[0]) for d in t.dead_letters())
    assert dead == sorted(oracle.refused)
    check_changes(t, table, oracle)


def check_changes(t: Driver, table: flows.Table, oracle: TableOracle) -> None:
    """Compare the last change of each row; a removed row's is None."""
    last_change = {}
    for change in t.output(table):
        key = change.key if len(table.keys) > 1 else (change.key,)
        last_change[Group(key, microseconds(change.window), microseconds(change.window_end))] = change.value
    expected = oracle.rows()
    assert {p for p, value in last_change.items() if value is not None} == expected.keys()
    for place, row in expected.items():
        for name, value in row.items():
            assert same(last_change[place][name], value)


def group(row: dict[str, Any], keys: Sequence[str]) -> Group:
    bounds = (microseconds(row.get(f"window_{end}")) for end in ("start", "end"))
    return Group(tuple(row[k] for k in keys), *bounds)


def microseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * SECOND)


def same(found: Any, expected: Any) -> bool:
    """Tell whether two results are equal: exactly, floats to within 1e-12 relative."""
    if isinstance(expected, float) and isinstance(found, float):
        return math.isclose(found, expected, rel_tol=1e-12, abs_tol=1e-9) or (found != found and expected != expected)
    return bool(found == expected) and isinstance(found, bool) == isinstance(expected, bool)
