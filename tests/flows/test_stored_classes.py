"""Stored values of classes that changed: read where MessagePack can, else refused with the field, before any record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

import flows
from flows import fold
from flows.errors import IncompatibleState
from flows.testing import Driver


class Visit(flows.Record):
    page: str


def stored(**fields: Any) -> Any:
    """Make a class of stored values; a field is its type, or type and default."""
    parts = [(name, *(found if isinstance(found, tuple) else (found,))) for name, found in fields.items()]
    return msgspec.defstruct("Stored", parts, module=__name__)


def by_fold(cls: Any, first: dict[str, Any]) -> flows.App:
    app = flows.App("site")
    visits = app.topic("visits", value=Visit, key="page")
    visits.group_by("page").agg(kept=fold(cls(**first), lambda found, visit: found)).table("t")
    return app


def by_dictionary(cls: Any, first: dict[str, Any]) -> flows.App:
    app = flows.App("site")
    visits = app.topic("visits", value=Visit, key="page")
    table = app.table("t", value=list[cls])

    @app.agent(visits)
    async def keep(stream: Any) -> None:
        async for visit in stream:
            table[visit.page] = [*table.get(visit.page, []), cls(**first)]

    return app


Make = Callable[[Any, dict[str, Any]], flows.App]
KEPT = [by_fold, by_dictionary]


def run(app: flows.App, before: Driver | None = None, *, moved: bool = False) -> Driver:
    """Process a record with an app, on what another has left; `moved`: to a worker that has the changelog only."""
    kept = {} if before is None else {"broker": before._broker, "stores": {} if moved else before._stores}
    with Driver(app, now=0.0, **kept) as t:  # type: ignore[arg-type]
        t.send("visits", Visit("a"))
        assert not t.dead_letters()
        assert len(t.table("t").rows()) == 1
    return t


@pytest.mark.parametrize("make", KEPT)
@pytest.mark.parametrize("moved", [False, True])
def test_what_can_be_read_goes_on(make: Make, moved: bool) -> None:
    first = run(make(stored(n=int, gone=str), {"n": 1, "gone": "x"}))
    run(make(stored(n=float | None, more=(int, 5)), {"n": 1.5}), first, moved=moved)


REFUSED = [
    (stored(n=int, m=int), {"n": 1, "m": 2}, "field Stored.m is new and has no default"),
    (stored(n=str), {"n": ""}, "field Stored.n was int, is str"),
    (stored(n=list[int]), {"n": []}, r"field Stored.n was int, is list\[int\]"),
]


@pytest.mark.parametrize("make", KEPT)
@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize(("cls", "first", "why"), REFUSED)
def test_what_cannot_is_refused_before_any_record(
    make: Make, moved: bool, cls: Any, first: dict[str, Any], why: str
) -> None:
    before = run(make(stored(n=int), {"n": 1}))
    with pytest.raises(IncompatibleState, match=rf"table 't' was stored by another plan: {why}; rename the table, or"):
        run(make(cls, first), before, moved=moved)


@pytest.mark.parametrize("make", KEPT)
@pytest.mark.parametrize("moved", [False, True])
def test_a_field_that_comes_back_as_another_is_refused(make: Make, moved: bool) -> None:
    """Rows of two versions ago still have it."""
    first = run(make(stored(n=int, m=(int, 0)), {"n": 1}))
    second = run(make(stored(n=int), {"n": 1}), first, moved=moved)
    with pytest.raises(IncompatibleState, match=r"field Stored\.m was int, is str"):
        run(make(stored(n=int, m=(str, "")), {"n": 1}), second, moved=moved)


@pytest.mark.parametrize("make", KEPT)
@pytest.mark.parametrize("moved", [False, True])
def test_a_field_that_was_added_is_noted(make: Make, moved: bool) -> None:
    first = run(make(stored(n=int), {"n": 1}))
    second = run(make(stored(n=int, m=(int, 0)), {"n": 1}), first, moved=moved)
    with pytest.raises(IncompatibleState, match=r"field Stored\.m was int, is str"):
        run(make(stored(n=int, m=(str, "")), {"n": 1}), second, moved=moved)
