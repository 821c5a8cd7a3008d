"""Folds: aggregates by a person's own functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import msgspec

from dsl.errors import DeclarationError
from dsl.plan.types import value_name


class Fold(msgspec.Struct, frozen=True):
    """What `fold` was given; `type` is the accumulator's."""

    initial: Any
    step: Callable[[Any, Any], Any]
    merge: Callable[[Any, Any], Any] | None
    type: Any

    def start(self) -> Any:
        """Return a first accumulator."""
        return self.initial() if callable(self.initial) else self.initial

    @property
    def name(self) -> str:
        """The name of the step's function."""
        return getattr(self.step, "__qualname__", repr(self.step)).rpartition("<locals>.")[2]


def checked_fold(initial: Any, step: Any, merge: Any, type_: Any) -> Fold:
    """Check what `fold` was given. Raises `DeclarationError`."""
    for role, function in (("step", step), ("merge", merge)):
        if function is not None or role == "step":
            _check_function(role, function)
    start = initial() if callable(initial) else initial
    found = type_ or _hint(step) or type(start)
    try:
        same = msgspec.msgpack.decode(msgspec.msgpack.encode(start), type=found) == start
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as problem:
        raise DeclarationError(
            f"fold(initial={start!r}): the accumulator cannot be kept as {value_name(found)}: {problem}."
        ) from problem
    if not same:
        raise DeclarationError(
            f"fold(initial={start!r}): kept as {value_name(found)}, the accumulator comes back as something else; "
            "say what it is by type=."
        )
    return Fold(initial, step, merge, found)


def _check_function(role: str, function: Any) -> None:
    if not callable(function):
        raise DeclarationError(f"fold({role}={function!r}): expected a function of two arguments.")
    if inspect.iscoroutinefunction(function):
        raise DeclarationError(f"fold({role}={function.__qualname__}): expected a plain function, not a coroutine.")
    try:
        inspect.signature(function).bind(None, None)
    except TypeError as problem:
        shown = getattr(function, "__qualname__", repr(function))
        what = "(accumulator, record)" if role == "step" else "(earlier, later)"
        raise DeclarationError(f"fold({role}={shown}): cannot be called with {what}: {problem}.") from problem
    except ValueError:  # a builtin that tells nothing of its arguments
        return


def _hint(step: Callable[..., Any]) -> Any:
    """Return the type that a step says it returns, where it says one."""
    try:
        found = get_type_hints(step).get("return")
    except (NameError, TypeError):
        return None
    return None if found in (Any, type(None)) else found
