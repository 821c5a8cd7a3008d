"""A naive interpreter of expressions, one row at a time: what `flows/compile/expressions.py` must agree with."""

from __future__ import annotations

import datetime as dt
import math
import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from dsl.plan.exprs import Column, ExprNode, Literal
from dsl.plan.functions import type_of
from dsl.plan.types import Kind, Schema

Row = dict[str, Any]


def evaluate(expr: ExprNode, row: Row, schema: Schema) -> Any:
    """Return the value of an expression for one row, of the Python type of its declared kind."""
    if isinstance(expr, Column):
        return row[expr.name]
    if isinstance(expr, Literal):
        return expr.value
    args = [evaluate(a, row, schema) for a in expr.args]
    result = _special(expr.function, args) if expr.function in _SPECIAL else _ordinary(expr.function, args)
    kind = type_of(expr, schema).kind
    return float(result) if kind is Kind.FLOAT and result is not None else result


def _ordinary(function: str, args: list[Any]) -> Any:
    if any(a is None for a in args):
        return None
    return _fits(_ORDINARY[function](*args))


def _fits(value: Any) -> Any:
    is_int = isinstance(value, int) and not isinstance(value, bool)
    return None if is_int and not -(2**63) <= value < 2**63 else value


def _special(function: str, args: list[Any]) -> Any:
    match function, args:
        case "is_null", [a]:
            return a is None
        case "is_not_null", [a]:
            return a is not None
        case "fill_null", [a, b]:
            return b if a is None else a
        case "if", [condition, then, otherwise]:
            return then if condition is True else otherwise
        case "and", [a, b]:
            return False if a is False or b is False else None if a is None or b is None else True
        case "or", [a, b]:
            return True if a is True or b is True else None if a is None or b is None else False
        case "is_in", [a, *options]:
            found = [_ordinary("eq", [a, o]) for o in options]
            return True if True in found else None if a is None or None in found else False
    raise AssertionError(function)


_SPECIAL = {"is_null", "is_not_null", "fill_null", "if", "and", "or", "is_in"}


def _compare(operate: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda a, b: operate(*_alike(a, b))


def _alike(a: Any, b: Any) -> tuple[Any, Any]:
    if isinstance(a, float) or isinstance(b, float):
        return float(a), float(b)
    if isinstance(a, dt.date) and isinstance(b, dt.date) and (_timed(a) or _timed(b)):
        return _utc(a), _utc(b)
    return a, b


def _timed(value: dt.date) -> bool:
    return isinstance(value, dt.datetime)


def _utc(value: dt.date) -> dt.datetime:
    if not isinstance(value, dt.datetime):
        return dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
    return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


def _time_or_number(operate: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda a, b: operate(*(_utc(x) if isinstance(x, dt.datetime) else x for x in (a, b)))


def _div(a: float, b: float) -> float | None:
    return None if b == 0 else float(a) / float(b)


def _floordiv(a: Any, b: Any) -> Any:
    if b == 0:
        return None
    return a // b if isinstance(a, int) and isinstance(b, int) else float(np.floor(float(a) / float(b)))


def _mod(a: Any, b: Any) -> Any:
    if b == 0:
        return None
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    return float(a) - float(np.floor(float(a) / float(b))) * float(b)


def _keeping_ints(compute: Callable[[float], Any]) -> Callable[[Any], Any]:
    return lambda a: a if isinstance(a, int) else float(compute(a))


def _round(value: Any, digits: int) -> Any:
    return value if isinstance(value, int) else float(np.rint(value * 10.0**digits) / 10.0**digits)


def _slice(text: str, start: int, length: int) -> str:
    begin = start if start >= 0 else len(text) + start
    return text[max(begin, 0) : max(begin + length, 0)]


def _to_str(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dt.datetime):
        return _utc(value).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return re.sub(r"e([+-])0(\d)$", r"e\1\2", str(value))


def _to_int(value: Any) -> int | None:
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"[+-]?[0-9]+", value) else None
    return int(value) if math.isfinite(value) else None


def _to_float(value: Any) -> float | None:
    if isinstance(value, str) and not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", value):
        return None
    return float(value) if math.isfinite(float(value)) else None


def _of_date(read: Callable[[dt.datetime], int]) -> Callable[[dt.date], int]:
    return lambda value: read(_utc(value))


_ORDINARY: dict[str, Callable[..., Any]] = {
    "add": _time_or_number(operator.add), "sub": _time_or_number(operator.sub), "mul": operator.mul,
    "div": _div, "floordiv": _floordiv, "mod": _mod, "neg": operator.neg, "abs": abs,
    "eq": _compare(operator.eq), "ne": _compare(operator.ne), "lt": _compare(operator.lt),
    "le": _compare(operator.le), "gt": _compare(operator.gt), "ge": _compare(operator.ge),
    "not": operator.not_,
    "floor": _keeping_ints(np.floor), "ceil": _keeping_ints(np.ceil), "round": _round,
    "sqrt": lambda a: math.sqrt(a) if a >= 0 else None,
    "lower": str.lower, "upper": str.upper, "strip": str.strip, "length": len,
    "contains": lambda text, part: part in text,
    "starts_with": str.startswith, "ends_with": str.endswith, "replace": str.replace, "slice": _slice,
    "year": _of_date(lambda t: t.year), "month": _of_date(lambda t: t.month), "day": _of_date(lambda t: t.day),
    "weekday": _of_date(dt.datetime.isoweekday), "hour": _of_date(lambda t: t.hour),
    "minute": _of_date(lambda t: t.minute), "second": _of_date(lambda t: t.second),
    "to_str": _to_str, "to_int": _to_int, "to_float": _to_float,
}  # fmt: skip
FUNCTIONS = frozenset(_SPECIAL) | frozenset(_ORDINARY)
