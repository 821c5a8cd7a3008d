"""Agents: coroutines over streams; and how the plan finds the tables that a coroutine touches."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from dsl.table import DictTable


class Agent:
    """A declared agent; calling it is the engine's work."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name, self.function = name, function

    def __repr__(self) -> str:
        return f"<Agent {self.name}>"


def tables_used(function: Callable[..., Any]) -> list[DictTable]:
    """Find the dictionary tables that a function names, itself or through functions of its own module.

    It reads names, not behaviour: a table reached in another way must be declared with `tables=[…]`.
    """
    found: dict[str, DictTable] = {}
    seen: set[int] = set()
    queue: list[Any] = [inspect.unwrap(function)]
    while queue:
        item = queue.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, DictTable):
            found[item.name] = item
        elif isinstance(item, FunctionType):
            queue.extend(v for v in _mentioned(item) if isinstance(v, DictTable) or _is_near(v, item))
    return [found[name] for name in sorted(found)]


def _is_near(value: Any, function: FunctionType) -> bool:
    return isinstance(value, FunctionType) and value.__module__ == function.__module__


def _mentioned(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # a name that is bound later
            continue
    names = set(_names(function.__code__))
    for name in names:
        value = function.__globals__.get(name)
        yield value
        if isinstance(value, ModuleType):
            yield from (v for n in names if isinstance(v := vars(value).get(n), DictTable))


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
