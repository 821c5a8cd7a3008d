"""How the plan finds the tables that a coroutine touches: it reads the names in its code."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from dsl.errors import DeclarationError
from dsl.table import AgentTable


def check_coroutine(function: Callable[..., Any], what: str, body: str) -> None:
    """Raise `DeclarationError` for a function that is not `async def`."""
    plain = inspect.unwrap(function)
    if not (inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain)):
        name = getattr(function, "__name__", repr(function))
        raise DeclarationError(f"{what} is a coroutine: write `async def {name}(...): {body}`, not a plain function.")


def tables_used(function: Callable[..., Any]) -> list[AgentTable]:
    """Find the tables that a function names, itself or through functions of its own module.

    It reads names, not behaviour: a table reached in another way must be declared with `tables=[…]`.
    """
    named = (value for near in functions_near(function) for value in _mentioned(near))
    found = {table.name: table for table in named if isinstance(table, AgentTable)}
    return [found[name] for name in sorted(found)]


def functions_near(function: Callable[..., Any]) -> Iterator[FunctionType]:
    """Yield a function, those of its own module that it names, and those that these name."""
    seen: set[int] = set()
    queue: list[Any] = [inspect.unwrap(function)]
    while queue:
        item = queue.pop()
        if id(item) not in seen and isinstance(item, FunctionType):
            seen.add(id(item))
            yield item
            queue.extend(v for v in _mentioned(item) if _is_near(v, item))


def _is_near(value: Any, function: FunctionType) -> bool:
    return isinstance(value, FunctionType) and value.__module__ == function.__module__


def _mentioned(function: FunctionType) -> Iterator[Any]:
    yield from (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # a name that is bound later
            continue
    names = set(_names(function.__code__))
    found = [function.__globals__.get(name) for name in names]
    modules: set[int] = set()
    while found:
        value = found.pop()
        yield value
        if isinstance(value, ModuleType) and id(value) not in modules:
            modules.add(id(value))
            found += [v for n in names if isinstance(v := vars(value).get(n), AgentTable | ModuleType)]


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
