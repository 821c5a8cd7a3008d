"""A changed module on old state: refused with the difference named, or carried on without losing a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import flows
from flows import approx_distinct, col, count, hopping, last, max, quantile, sum, tumbling
from flows.errors import IncompatibleState, TopicMismatch
from flows.testing import Driver


class Hit(flows.Record):
    page: str
    user: str
    at: float
    n: int = 1


Module = Callable[[flows.Topic], Any]


def driver(module: Module, old: Driver | None = None, *, partitions: int = 1, disk: bool = True) -> Driver:
    """Drive a module, on the broker (and with `disk` the stores) of an earlier driver."""
    app = flows.App("web")
    hits = app.topic("hits", value=Hit, key="page", timestamp="at", partitions=partitions)
    module(hits)
    if old is None:
        return Driver(app, now=1000.0)
    return Driver(app, now=old.clock.now(), broker=old._broker, stores=old._stores if disk else None)


def counted(window: Any = None, *keys: str, **more: Any) -> Module:
    cut = window or tumbling("10s")
    return lambda hits: hits.group_by(*(keys or ("page",))).window(cut).agg(hits=count(), **more).table("t")


def send(t: Driver, *times: float, page: str = "a") -> None:
    for at in times:
        t.send("hits", Hit(page, "u", at))


BASE = counted(total=sum("n"))


@pytest.mark.parametrize("disk", [True, False], ids=["same disk", "empty disk"])
@pytest.mark.parametrize(
    ("module", "difference"),
    [
        (counted(tumbling("20s"), total=sum("n")), r"window was tumbling\(10s\), is tumbling\(20s\)"),
        (counted(hopping("10s", "5s"), total=sum("n")), r"window was tumbling\(10s\), is hopping\(10s, 5s\)"),
        (counted(total=max("n")), r"aggregate total was sum\(n: int\), is max\(n: int\)"),
        (counted(), r"aggregate total was sum\(n: int\), is gone"),
        (counted(total=sum("n"), users=approx_distinct("user")), r"aggregate users is new"),
        (counted(total=sum(col("n") * 2)), r"aggregate total was sum\(n: int\), is sum\(.*2.*: int\)"),
        (
            lambda hits: hits.group_by("page").agg(hits=count(), total=sum("n")).table("t"),
            r"window was tumbling\(10s\), is none",
        ),
        (
            counted(None, "page", "user", total=sum("n")),
            r"keys was page: str, is page: str, user: str",
        ),
        (
            lambda hits: (
                hits.with_columns(page=col("user")).group_by("page").window(tumbling("10s"))
                .agg(hits=count(), total=sum("n")).table("t")
            ),
            r"partition was that of the input's key \(page\), is chosen by group_by\(page\)",
        ),
    ],
)  # fmt: skip
def test_another_shape_is_refused_with_the_difference(module: Module, difference: str, disk: bool) -> None:
    with driver(BASE) as old:
        send(old, 1.0, 2.0)
        old._run(old._hand_back(), "stop")
    with (
        pytest.raises(
            IncompatibleState, match=rf"table 't' was stored by another plan: .*{difference}.*; rename the table"
        ),
        driver(module, old, disk=disk),
    ):
        pass


def test_a_dictionary_of_another_type_is_refused() -> None:
    def module(key: Any, value: Any) -> Module:
        def declare(hits: flows.Topic) -> None:
            table = hits.app.table("t", key=key, value=value)

            @hits.app.agent(hits)
            async def write(stream):
                async for hit in stream:
                    table[hit.page] = hit.n

        return declare

    with driver(module(str, int)) as old:
        send(old, 1.0)
    with pytest.raises(IncompatibleState, match="value type was int, is str"), driver(module(str, str), old):
        pass
    with pytest.raises(IncompatibleState, match="keys was key: str, is key: int"), driver(module(int, int), old):
        pass


def test_another_number_of_partitions_is_refused() -> None:
    with driver(BASE) as old:
        send(old, 1.0)
    with (
        pytest.raises(TopicMismatch, match="'hits' exists with other settings: partitions is 1, wanted 2"),
        driver(BASE, old, partitions=2),
    ):
        pass


COMPATIBLE: dict[str, tuple[Module, Module]] = {
    "a filter": (BASE, lambda hits: BASE(hits.filter(col("n") < 100))),
    "more grace": (BASE, counted(tumbling("10s", grace="1h"), total=sum("n"))),
    "less grace": (counted(tumbling("10s", grace="1h"), total=sum("n")), BASE),
    "retention": (BASE, counted(tumbling("10s", retention="2h"), total=sum("n"))),
    "another quantile": (counted(total=sum("n"), x=quantile("n", 0.5)), counted(total=sum("n"), x=quantile("n", 0.9))),
    "waiting for the end": (BASE, counted(tumbling("10s", emit="close"), total=sum("n"))),
    "not waiting for the end": (counted(tumbling("10s", emit="close"), total=sum("n")), BASE),
    "longer waiting": (
        counted(tumbling("10s", emit="close"), total=sum("n")),
        counted(tumbling("10s", grace="1h", emit="close"), total=sum("n")),
    ),
    "another table": (BASE, lambda hits: (BASE(hits), hits.group_by("user").agg(n=count()).table("other"))),
}


@pytest.mark.parametrize("disk", [True, False], ids=["same disk", "empty disk"])
@pytest.mark.parametrize("change", COMPATIBLE)
def test_what_stays_readable_goes_on_and_loses_nothing(change: str, disk: bool) -> None:
    before, after = COMPATIBLE[change]
    with driver(before) as old:
        send(old, 101.0, 112.0, 113.0)
        old._run(old._hand_back(), "stop")
    with driver(after, old, disk=disk) as t:
        send(t, 114.0, 125.0)
        late = len(t.late("t"))
        send(t, 4000.0)
        rows = {r["window_start"]: (r["hits"], r["total"]) for r in t.table("t").rows()}
        assert rows[110.0] == (3, 3)
        assert rows[100.0] == (1, 1)
        assert rows[120.0] == (1, 1)
        assert late == 0


@pytest.mark.parametrize("disk", [True, False], ids=["same disk", "empty disk"])
def test_windows_that_a_longer_grace_opens_again_keep_what_they_had(disk: bool) -> None:
    with driver(counted(tumbling("10s", emit="close"))) as old:
        send(old, 101.0, 102.0, 115.0)
        assert [(r["window_start"], r["hits"]) for r in old.table("t").rows()] == [(100.0, 2)]
        old._run(old._hand_back(), "stop")
    with driver(counted(tumbling("10s", grace="10s", emit="close")), old, disk=disk) as t:
        send(t, 103.0)
        assert t.late("t") == []
        send(t, 121.0)
        assert [(r["window_start"], r["hits"]) for r in t.table("t").rows()] == [(100.0, 3)]


def test_rows_that_waited_are_shown_once_nobody_waits() -> None:
    with driver(counted(tumbling("10s", emit="close"))) as old:
        send(old, 101.0)
        assert old.table("t").rows() == []
        old._run(old._hand_back(), "stop")
    with driver(counted(), old) as t:
        assert [r["hits"] for r in t.table("t").rows()] == [1]


def test_an_agents_unfinished_list_of_another_record_class_says_so() -> None:
    class Renamed(flows.Record):
        page: str
        at: float
        extra: int

    def declare(record: type) -> flows.App:
        app = flows.App("web")
        hits = app.topic("hits", value=record, key="page", timestamp="at")

        @app.agent(hits)
        async def pairs(stream):
            async for _ in stream.take(10):
                pass

        return app

    with Driver(declare(Hit)) as old:
        old.send("hits", Hit("a", "u", 1.0))
        old._run(old._hand_back(), "stop")
    with (
        pytest.raises(IncompatibleState, match=r"agent 'pairs' holds records that .* missing required field `extra`"),
        Driver(declare(Renamed), broker=old._broker, stores=old._stores),
    ):
        pass


def test_removing_and_renaming_a_table_starts_it_anew() -> None:
    with driver(BASE) as old:
        send(old, 1.0)
    renamed = lambda hits: hits.window(tumbling("20s")).agg(users=last("user")).table("t2")  # noqa: E731
    with driver(renamed, old) as t:
        send(t, 2.0)
        assert [r["window_start"] for r in t.table("t2").rows()] == [0.0]
        old = t
    with driver(BASE, old) as t:
        assert [r["hits"] for r in t.table("t").rows()] == [1]
