"""How the plan finds a send that nobody awaits: what is sent so goes nowhere, and Python says so in a warning at most.

It reads the source of the person's functions, and looks at whole statements: `alerts.send(value)`, where `alerts` is a
topic or an agent by a name that the function finds outside of itself. And how it finds a `for` that lacks `async`.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

from dsl.agent import Agent
from dsl.errors import DeclarationError
from dsl.function_source import FunctionSource
from dsl.tables_used import functions_near
from dsl.topic import Topic

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


def check_awaited(function: Callable[..., Any]) -> None:
    """Raise `DeclarationError` where a function, or one of its module that it names, sends without `await`."""
    for near in functions_near(function):
        if _METHODS.isdisjoint(near.__code__.co_names):
            continue
        try:
            source = FunctionSource(near.__code__)
        except (OSError, SyntaxError):
            continue
        for call, method in _dropped(source.tree):
            found = _meant(method.value, near)
            if isinstance(found, Topic | Agent) and inspect.iscoroutinefunction(getattr(found, method.attr, None)):
                text = f"{ast.unparse(method)}(…)"
                raise DeclarationError(
                    f"{near.__name__!r} does not await {text}, so nothing is sent: write `await {text}`.",
                    place=source.place(call),
                )


def check_async_for(function: Callable[..., Any]) -> None:
    """Raise `DeclarationError` where an agent goes through its stream by `for`, which has nothing to go through."""
    plain = inspect.unwrap(function)
    code = getattr(plain, "__code__", None)
    if code is None or not code.co_argcount:
        return
    try:
        source = FunctionSource(code)
    except (OSError, SyntaxError):
        return
    stream = code.co_varnames[1 if inspect.ismethod(plain) else 0]
    for loop in ast.walk(source.tree):
        if isinstance(loop, ast.For) and _is_of(loop.iter, stream):
            text = f"async for {ast.unparse(loop.target)} in {ast.unparse(loop.iter)}: …"
            raise DeclarationError(
                f"agent {plain.__name__!r} goes through {stream} by `for`: write `{text}`.", place=source.place(loop)
            )


def _is_of(found: ast.expr, name: str) -> bool:
    """Tell whether an expression is a name, or a call of one of its methods."""
    if isinstance(found, ast.Call) and isinstance(found.func, ast.Attribute):
        found = found.func.value
    return isinstance(found, ast.Name) and found.id == name


_METHODS = frozenset(
    name for kind in (Topic, Agent) for name in dir(kind) if inspect.iscoroutinefunction(getattr(kind, name))
)


def _dropped(tree: ast.AST) -> Iterator[tuple[ast.Call, ast.Attribute]]:
    """Yield the calls of methods that are statements of their own, in the function itself."""
    parts = [part for function in ast.iter_child_nodes(tree) for part in ast.iter_child_nodes(function)]
    while parts:
        part = parts.pop()
        if isinstance(part, ast.Expr) and isinstance(part.value, ast.Call):
            called = part.value.func
            if isinstance(called, ast.Attribute):
                yield part.value, called
        if not isinstance(part, _SCOPES):
            parts.extend(ast.iter_child_nodes(part))


def _meant(name: ast.expr, function: FunctionType) -> Any:
    """Return what a name, or an attribute of a module, stands for outside of the function; None where that is open."""
    if isinstance(name, ast.Attribute):
        module = _meant(name.value, function)
        return vars(module).get(name.attr) if isinstance(module, ModuleType) else None
    if not isinstance(name, ast.Name):
        return None
    code = function.__code__
    if name.id in code.co_freevars:
        cell = (function.__closure__ or ())[code.co_freevars.index(name.id)]
        try:
            return cell.cell_contents
        except ValueError:  # a name that is bound later
            return None
    return function.__globals__.get(name.id) if name.id in code.co_names else None
