"""Each aggregate and window declared otherwise over what is stored: refused with why and the ways out, or carried on.

A table that goes on says what it would if it had always been declared so.
"""

from __future__ import annotations

import inspect
import re
from typing import Any, NamedTuple

import pytest

import dsl.aggregate
import flows
from flows import (
    approx_distinct,
    arg_max,
    arg_min,
    col,
    collect,
    count,
    count_window,
    first,
    fold,
    histogram,
    hopping,
    last,
    max,
    mean,
    min,
    quantile,
    session,
    sliding,
    std,
    sum,
    top_k,
    tumbling,
    var,
)
from flows.errors import IncompatibleState
from flows.testing import Driver


class Hit(flows.Record):
    page: str
    user: str
    at: float
    n: int = 1
    x: float | None = None


def hit(i: int) -> Hit:
    return Hit("ab"[i % 2], f"u{i * i % 7}", 100.0 + 3 * i, i * 5 % 11, None if i % 5 == 0 else i / 3)


class Ran(NamedTuple):
    driver: Driver
    rows: list[dict[str, Any]]


def run(aggregate: Any, window: Any, records: range, old: Ran | None = None, *, disk: bool = True) -> Ran:
    """Give records to a table, on what another driver has left: its topics, and with `disk` its stores."""
    app = flows.App("web")
    grouped = app.topic("hits", value=Hit, key="page", timestamp="at").group_by("page")
    (grouped if window is None else grouped.window(window)).agg(n=count(), a=aggregate).table("t")
    left = {} if old is None else {"broker": old.driver._broker, "stores": old.driver._stores if disk else {}}
    with Driver(app, now=1000.0, **left) as t:  # type: ignore[arg-type]
        for i in records:
            t.send("hits", hit(i))
        return Ran(t, t.table("t").rows())


GROW = fold(0, lambda total, hit: total + hit.n)
GOES_ON = [
    (count(), count()),
    (sum("n"), sum("n")),
    (quantile("n", 0.5), quantile("n", 0.9)),
    (var("n"), var("n", ddof=0)),
    (std("x"), std("x", ddof=0)),
    (top_k("user", 3), top_k("user", 5)),
    (top_k("user", 5), top_k("user", 1)),
    (GROW, fold(0, lambda total, hit: total + hit.n, lambda one, two: one + two)),
]


@pytest.mark.parametrize("disk", [True, False], ids=["same disk", "empty disk"])
@pytest.mark.parametrize(("old", "new"), GOES_ON, ids=[str(old.function) for old, _ in GOES_ON])
def test_what_only_reads_otherwise_goes_on(old: Any, new: Any, disk: bool) -> None:
    went_on = run(new, None, range(12, 24), run(old, None, range(12)), disk=disk)
    assert went_on.rows == run(new, None, range(24)).rows


REFUSED = [
    (count(), count("x"), "count() count(x: float)"),
    (sum("n"), sum("x"), "sum(n: int) sum(x: float)"),
    (sum("n"), sum(col("n") + 1), "sum(n: int) sum(n + 1: int)"),
    (mean("n"), sum("n"), "mean(n: int) sum(n: int)"),
    (min("n"), max("n"), "min(n: int) max(n: int)"),
    (max("n"), max("x"), "max(n: int) max(x: float)"),
    (first("user"), last("user"), "first(user: str) last(user: str)"),
    (last("user"), last("n"), "last(user: str) last(n: int)"),
    (var("x"), std("x"), "var(x: float) std(x: float)"),
    (std("n"), std("x"), "std(n: int) std(x: float)"),
    (
        quantile("x", 0.5),
        quantile("x", 0.5, error=0.02),
        "quantile(x: float, error=0.01) quantile(x: float, error=0.02)",
    ),
    (
        approx_distinct("user"),
        approx_distinct("user", precision=14),
        "approx_distinct(user: str, precision=12) approx_distinct(user: str, precision=14)",
    ),
    (arg_min("user", by="n"), arg_min("user", by="x"), "arg_min(user: str, by=n: int) arg_min(user: str, by=x: float)"),
    (arg_max("user", by="n"), arg_min("user", by="n"), "arg_max(user: str, by=n: int) arg_min(user: str, by=n: int)"),
    (collect("user", 3), collect("user", 5), "collect(user: str, limit=3) collect(user: str, limit=5)"),
    (
        collect("user", 3),
        collect("user", 3, latest=True),
        "collect(user: str, limit=3) collect(user: str, latest=1, limit=3)",
    ),
    (
        top_k("user", 3),
        top_k("user", 3, capacity=50),
        "top_k(user: str, capacity=1000) top_k(user: str, capacity=50)",
    ),
    (
        histogram("x", [1, 5]),
        histogram("x", [1, 6]),
        "histogram(x: float, bounds=[1, 5]) histogram(x: float, bounds=[1, 6])",
    ),
    (histogram("x"), histogram("x", error=0.1), "histogram(x: float, error=0.01) histogram(x: float, error=0.1)"),
    (GROW, fold(0.0, lambda total, hit: total + hit.n), "fold(int) fold(float)"),
]


def refusal(why: str) -> str:
    found = re.escape(f"table 't' was stored by another plan: {why}; rename the table, or empty it: ")
    return f"^{found}`flows reset --table t`$"


@pytest.mark.parametrize("disk", [True, False], ids=["same disk", "empty disk"])
@pytest.mark.parametrize(("old", "new", "texts"), REFUSED, ids=[texts for *_, texts in REFUSED])
def test_what_is_kept_otherwise_is_refused_with_why_and_the_ways_out(
    old: Any, new: Any, texts: str, disk: bool
) -> None:
    before = run(old, None, range(12))
    was, new_text = re.fullmatch(r"(\w+\(.*?\)) (\w+\(.*\))", texts).groups()  # type: ignore[union-attr]
    with pytest.raises(IncompatibleState, match=refusal(f"aggregate a was {was}, is {new_text}")):
        run(new, None, range(12, 24), before, disk=disk)
    went_on = run(old, None, range(12, 24), before, disk=disk)  # what was refused has spoilt nothing
    assert went_on.rows == run(old, None, range(24)).rows


def test_every_aggregate_is_tried() -> None:
    tried = {aggregate.function for case in (*GOES_ON, *REFUSED) for aggregate in case[:2]}
    assert tried == {name for name in flows.__all__ if inspect.getmodule(getattr(flows, name)) is dsl.aggregate}


WINDOWS = {
    "tumbling(10s)": (tumbling("10s"), tumbling("20s"), "tumbling(20s)"),
    "hopping(10s, 5s)": (hopping("10s", "5s"), hopping("10s", "2s"), "hopping(10s, 2s)"),
    "tumbling(10s, offset=3s)": (tumbling("10s", offset="3s"), tumbling("10s"), "tumbling(10s)"),
    "tumbling(1d, tz=Europe/Berlin)": (
        tumbling("1d", tz="Europe/Berlin"),
        tumbling("1d", tz="Asia/Tokyo"),
        "tumbling(1d, tz=Asia/Tokyo)",
    ),
    "tumbling(10s, time=processing)": (tumbling("10s", time="processing"), tumbling("10s"), "tumbling(10s)"),
    "session(5s)": (session("5s"), session("9s"), "session(9s)"),
    "sliding(5s)": (sliding("5s"), sliding("9s"), "sliding(9s)"),
    "count_window(5)": (count_window(5), count_window(6), "count_window(6)"),
    "none": (None, tumbling("10s"), "tumbling(10s)"),
}


@pytest.mark.parametrize("was", WINDOWS)
def test_another_window_is_refused(was: str) -> None:
    old, new, told = WINDOWS[was]
    before = run(sum("n"), old, range(12))
    with pytest.raises(IncompatibleState, match=refusal(f"window was {was}, is {told}")):
        run(sum("n"), new, range(12, 24), before)


REACH = {
    "tumbling": tumbling,
    "hopping": lambda size, **more: hopping(size, "5s", **more),
    "session": lambda size, **more: session("5s", **more),
    "sliding": sliding,
    "count_window": lambda size, **more: count_window(5, **{k: v for k, v in more.items() if k != "grace"}),
}


@pytest.mark.parametrize("kind", REACH)
@pytest.mark.parametrize("more", [{"retention": "1h"}, {"grace": "5s"}, {"emit": "close"}], ids=str)
def test_how_long_windows_take_records_and_when_they_are_shown_may_change(kind: str, more: dict[str, Any]) -> None:
    window = REACH[kind]
    for old, new in ((window("10s"), window("10s", **more)), (window("10s", **more), window("10s"))):
        went_on = run(sum("n"), new, range(12, 40), run(sum("n"), old, range(12)))
        wanted = run(sum("n"), new, range(40))
        found, expected = ([r for r in ran.rows if r["window_start"] < 190] for ran in (went_on, wanted))
        assert len(expected) > 4
        assert found == expected
