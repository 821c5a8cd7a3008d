"""The tables that a function touches are found however it names them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

import flows
from dsl.plan.graph import Plan
from dsl.tables_used import tables_used
from flows import DictTable
from tests.dsl import shelf
from tests.dsl.shelf import on_shelf as renamed

app = flows.App("test")
here = app.table("here", key=str, value=int, default=int)
other = app.table("other", key=str, value=int, default=int)


def names(function: Callable[..., Any]) -> list[str]:
    return [table.name for table in tables_used(function)]


def test_a_global() -> None:
    async def agent(stream: Any) -> None:
        here["a"] += 1

    assert names(agent) == ["here"]


def test_none() -> None:
    async def agent(stream: Any) -> None:
        del stream

    assert names(agent) == []


def test_a_name_imported_as_another() -> None:
    async def agent(stream: Any) -> None:
        renamed.clear()

    assert names(agent) == ["on_shelf"]


def test_an_attribute_of_a_module() -> None:
    async def agent(stream: Any) -> None:
        shelf.on_shelf.clear()

    assert names(agent) == ["on_shelf"]


def test_an_attribute_of_a_module_of_a_module() -> None:
    async def agent(stream: Any) -> None:
        shelf.deeper.on_shelf.clear()

    assert names(agent) == ["on_shelf"]


def test_a_closure() -> None:
    table = other

    async def agent(stream: Any) -> None:
        table.clear()

    assert names(agent) == ["other"]


def test_a_default_argument() -> None:
    async def agent(stream: Any, table: DictTable = other, *, more: DictTable = here) -> None:
        table.clear()
        more.clear()

    assert names(agent) == ["here", "other"]


def helper() -> None:
    deeper_helper()


def deeper_helper() -> None:
    here.clear()
    helper()  # a circle must not matter


def test_helpers_of_the_same_module() -> None:
    async def agent(stream: Any) -> None:
        helper()

    assert names(agent) == ["here"]


def test_a_helper_in_a_closure() -> None:
    def local() -> None:
        other.clear()

    async def agent(stream: Any) -> None:
        local()

    assert names(agent) == ["other"]


def test_nested_functions_and_comprehensions() -> None:
    async def agent(stream: Any) -> None:
        def inner() -> list[int]:
            return [here[key] for key in ("a", "b")]

        inner()
        (lambda: other.clear())()

    assert names(agent) == ["here", "other"]


def test_a_decorated_function() -> None:
    def logged(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def wrapper(stream: Any) -> None:
            await function(stream)

        return wrapper

    @logged
    async def agent(stream: Any) -> None:
        here.clear()

    assert names(agent) == ["here"]


def test_a_variable_that_is_bound_later() -> None:
    async def agent(stream: Any) -> None:
        late["a"] = 1

    assert names(agent) == []
    late = other
    assert names(agent) == ["other"]


def test_the_plan_sees_tables_declared_below_their_agent() -> None:
    mine = flows.App("mine")
    topic = mine.topic("words", value=str)

    @mine.agent(topic)
    async def remember(stream: Any) -> None:
        below["a"] = 1

    @mine.timer("1s")
    async def forget() -> None:
        below.clear()

    below = mine.table("below")
    added = mine.table("added")
    assert tables_of(mine.plan()) == {"remember": ("below",), "forget": ("below",)}

    @mine.agent(topic, tables=[added])
    async def other_agent(stream: Any) -> None: ...

    assert tables_of(mine.plan())["other_agent"] == ("added",)


def tables_of(plan: Plan) -> dict[str, tuple[str, ...]]:
    return {node.id: node.tables for node in plan.nodes.values() if hasattr(node, "sinks") or hasattr(node, "interval")}


def test_a_table_of_another_app_is_refused_when_the_plan_is_made() -> None:
    mine = flows.App("mine")

    @mine.agent(mine.topic("words", value=str))
    async def agent(stream: Any) -> None:
        here.clear()

    with pytest.raises(flows.DeclarationError, match="table 'here' belongs to app 'test', not to 'mine'"):
        mine.plan()
