"""How the plan finds `stream.group_by(…)` inside an agent: it reads the agent's source, before any record comes.

What an agent groups by must be known when the app is declared, since it decides what is sent to which task. So the
arguments have to be written out: names as text, or fields of a Record (`Visit.page`).
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from dsl.errors import DeclarationError
from dsl.function_source import FunctionSource

_METHOD = "group_by"
_OPTIONS = ("name", "partitions")


class InsideGroups(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent groups its stream by: the columns, a part of the internal topic's name, its partitions."""

    keys: tuple[str, ...]
    name: str | None = None
    partitions: int | None = None
    place: str


def groups_inside(function: Callable[..., Any]) -> InsideGroups | None:
    """Return what a coroutine groups its stream by; None where it does not, or has no source that can be read.

    Raises `DeclarationError` where it cannot be told, or where it does so twice, or reads the stream ungrouped too.
    """
    plain = inspect.unwrap(function)
    code = getattr(plain, "__code__", None)
    if code is None or _METHOD not in code.co_names or not code.co_argcount:
        return None
    try:
        source = FunctionSource(code)
    except (OSError, SyntaxError):
        return None
    tree, at = source.tree, source.place
    stream = code.co_varnames[1 if inspect.ismethod(plain) else 0]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_of(node, stream)]
    if not calls:
        return None
    name = getattr(function, "__name__", "")
    for other in calls[1:]:
        raise DeclarationError(
            f"agent {name!r} groups its stream twice: an agent reads one internal topic, so make two of it.",
            place=at(other),
        )
    grouped = {id(call.func.value) for call in calls if isinstance(call.func, ast.Attribute)}
    for use in _uses(tree, stream):
        if id(use) not in grouped:
            raise DeclarationError(
                f"agent {name!r} reads {stream} grouped and as it is: only one of them comes, so make two of it.",
                place=at(use),
            )
    (call,) = calls
    options: dict[str, Any] = {option.arg: _constant(option.value, name, at) for option in call.keywords if option.arg}
    keys = tuple(_column(argument, name, at) for argument in call.args)
    for option in options:
        if option not in _OPTIONS:
            raise DeclarationError(f"agent {name!r}: group_by has no option {option!r}.", place=at(call))
    if not keys:
        raise DeclarationError(f"agent {name!r}: {stream}.group_by needs at least one column.", place=at(call))
    return InsideGroups(keys=keys, place=at(call), **options)


def _is_of(call: ast.Call, stream: str) -> bool:
    called = call.func
    if not isinstance(called, ast.Attribute) or called.attr != _METHOD:
        return False
    return isinstance(called.value, ast.Name) and called.value.id == stream


def _uses(tree: ast.AST, stream: str) -> Iterator[ast.Name]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == stream and isinstance(node.ctx, ast.Load):
            yield node


def _column(argument: ast.expr, agent: str, at: Callable[[ast.AST], str]) -> str:
    if isinstance(argument, ast.Attribute):
        return argument.attr
    found = _constant(argument, agent, at)
    if not isinstance(found, str):
        raise DeclarationError(f"agent {agent!r}: group_by takes names of columns, not {found!r}.", place=at(argument))
    return found


def _constant(argument: ast.expr, agent: str, at: Callable[[ast.AST], str]) -> Any:
    if not isinstance(argument, ast.Constant):
        raise DeclarationError(
            f"agent {agent!r}: what is in group_by({ast.unparse(argument)}) must be known before a record comes: write "
            'the column out, group_by("page") or group_by(Visit.page), or declare it, @app.agent(topic.group_by(…)).',
            place=at(argument),
        )
    return argument.value
