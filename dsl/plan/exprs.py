"""Expressions as data: columns, literals and calls of the functions listed in `functions`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from dsl.durations import show

if TYPE_CHECKING:
    Value = None | bool | int | float | str | bytes | dt.datetime | dt.date | dt.timedelta
else:  # msgspec cannot tell text, bytes and times apart in JSON; `wire` marks them
    Value = Any


class Column(msgspec.Struct, frozen=True, tag="column"):
    """The value of a column."""

    name: str


class Literal(msgspec.Struct, frozen=True, tag="literal"):
    """A constant."""

    value: Value


class Call(msgspec.Struct, frozen=True, tag="call"):
    """A function of the catalogue applied to arguments."""

    function: str
    args: tuple[ExprNode, ...]


ExprNode = Column | Literal | Call

_INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "floordiv": "//", "mod": "%",
    "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
    "and": "and", "or": "or",
}  # fmt: skip
_POSTFIX = {"is_null": "is null", "is_not_null": "is not null"}


def columns_of(expr: ExprNode) -> Iterator[str]:
    """Yield the names of the columns that an expression reads."""
    if isinstance(expr, Column):
        yield expr.name
    elif isinstance(expr, Call):
        for arg in expr.args:
            yield from columns_of(arg)


def render(expr: ExprNode) -> str:
    """Print an expression as a person would write it.

    >>> render(Call("gt", (Column("delay"), Literal(60))))
    'delay > 60'
    """
    if isinstance(expr, Column):
        return expr.name
    if isinstance(expr, Literal):
        return _shown(expr.value)
    if expr.function in _INFIX:
        left, right = (_operand(a) for a in expr.args)
        return f"{left} {_INFIX[expr.function]} {right}"
    if expr.function == "not":
        return f"not {_operand(expr.args[0])}"
    if expr.function == "neg":
        return f"-{_operand(expr.args[0])}"
    if expr.function in _POSTFIX:
        return f"{_operand(expr.args[0])} {_POSTFIX[expr.function]}"
    return f"{expr.function}({', '.join(render(a) for a in expr.args)})"


def _shown(value: Value) -> str:
    if isinstance(value, dt.timedelta) and value >= dt.timedelta():
        return show(value // dt.timedelta(microseconds=1))
    return value.isoformat() if isinstance(value, dt.date) else repr(value)


def _operand(expr: ExprNode) -> str:
    text = render(expr)
    compound = isinstance(expr, Call) and (
        expr.function in _INFIX or expr.function in _POSTFIX or expr.function == "not"
    )
    return f"({text})" if compound else text
