"""Expressions of the plan as polars expressions: one entry for each function of the catalogue.

What they mean (a plain Python interpreter in `tests/oracle/expressions.py` says the same, and is compared):

* Null in, null out; `and`, `or`, `not` are three-valued (Kleene); a condition that is null counts as not true.
* Integers have 64 bits; an operation whose result does not fit gives null. It costs 4 ns a value.
* Integers that meet floats become floats, also in comparisons. `/` is computed in floats.
* `//` rounds down and `%` has the divisor's sign, as in Python; of floats they are floor(a / b) and
  a - floor(a / b) * b, computed so. Division by zero gives null, of floats too; so does the root of a negative number.
* NaN, where a record brings one, equals itself and is the largest number.
* `round` sends a tie to the even digit, computed on the number times 10^digits.
* `contains`, `replace`, `starts_with`, `ends_with` are literal. `length` and `slice` count characters (code points);
  a negative start of `slice` counts from the end. `strip` removes Unicode's white space.
* Datetimes are UTC; naive literals are taken as UTC; a date compares as its midnight. Weekdays are ISO's, Monday 1.
* `to_int` of text takes a sign and digits, `to_float` also a point and an exponent; other text and what does not fit
  or is not finite gives null. `to_int` of a float cuts the fraction off. `to_str` gives "true" and "false", floats in
  the shortest form that reads back, datetimes as `2013-01-31T05:00:00.000000Z`, dates as `2013-01-31`.
"""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import polars as pl

from dsl.plan.exprs import Column, ExprNode, Literal
from dsl.plan.functions import type_of
from dsl.plan.types import DataType, Kind, Schema

_UTC = pl.Datetime("us", "UTC")
_DTYPES: dict[Kind, pl.DataType] = {
    Kind.INT: pl.Int64(),
    Kind.FLOAT: pl.Float64(),
    Kind.STR: pl.String(),
    Kind.BOOL: pl.Boolean(),
    Kind.BYTES: pl.Binary(),
    Kind.DATETIME: _UTC,
    Kind.DATE: pl.Date(),
    Kind.DURATION: pl.Duration("us"),
    Kind.OTHER: pl.Object(),
}
_SMALLEST = -(2**63)
_ONE_ROW = pl.DataFrame({"": [0]})


def polars_dtype(type_: DataType) -> pl.DataType:
    """Return the polars type that holds a column: 64-bit numbers, microseconds, UTC; objects for what is no column."""
    return _DTYPES[type_.kind]


def frame_schema(schema: Schema) -> dict[str, pl.DataType]:
    """Return the polars schema of a stream's columns, in their order."""
    return {field.name: polars_dtype(field.type) for field in schema}


def compile_expr(expr: ExprNode, schema: Schema) -> pl.Expr:
    """Turn an expression over a stream's columns into one of polars, of the dtype of its declared type.

    An expression without columns gives one value: use it in `with_columns` or `filter`, which repeat it, not in a
    `select` of its own. Raises `DeclarationError` for unknown columns and arguments that do not fit.
    """
    return _compile(expr, schema).expr


class _Term(NamedTuple):
    expr: pl.Expr
    kind: Kind
    node: ExprNode

    def to(self, kind: Kind) -> pl.Expr:
        """Convert to a kind that this one widens to (number, date to its midnight, null)."""
        if self.kind is Kind.DATE and kind is Kind.DATETIME:
            return self.expr.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        return self.expr if self.kind is kind else self.expr.cast(_DTYPES[kind])


class _Call(NamedTuple):
    args: list[_Term]
    result: Kind


_Rule = Callable[[_Call], pl.Expr]
_Binary = Callable[[pl.Expr, pl.Expr], pl.Expr]


def _compile(expr: ExprNode, schema: Schema) -> _Term:
    kind = type_of(expr, schema).kind
    if isinstance(expr, Column):
        return _Term(pl.col(expr.name), kind, expr)
    if isinstance(expr, Literal):
        return _Term(_literal(expr.value, kind), kind, expr)
    call = _Call([_compile(arg, schema) for arg in expr.args], kind)
    if expr.function == "if" and isinstance(call.args[0].node, Literal):
        taken = call.args[1 if call.args[0].node.value else 2]
        return _Term(taken.to(kind), kind, taken.node)
    found = _RULES[expr.function](call)
    if all(isinstance(term.node, Literal) for term in call.args):
        constant = _ONE_ROW.select(found).item()
        return _Term(_literal(constant, kind), kind, Literal(constant))
    return _Term(found, kind, expr)


def _literal(value: Any, kind: Kind) -> pl.Expr:
    return pl.lit(_plain(value), dtype=None if kind is Kind.OTHER else _DTYPES[kind])


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)
    return value


def _wide(*terms: _Term) -> Kind:
    kinds = {t.kind for t in terms}
    if kinds == {Kind.INT, Kind.FLOAT}:
        return Kind.FLOAT
    return Kind.DATETIME if kinds == {Kind.DATE, Kind.DATETIME} else terms[0].kind


def _arithmetic(operate: _Binary) -> _Rule:
    def rule(call: _Call) -> pl.Expr:
        a, b = call.args
        if call.result is Kind.INT:
            # 128 bits hold every sum and product of 64; what does not fit on the way back becomes null.
            return operate(a.expr.cast(pl.Int128), b.expr.cast(pl.Int128)).cast(pl.Int64, strict=False)
        if call.result is Kind.FLOAT:
            return operate(a.to(Kind.FLOAT), b.to(Kind.FLOAT))
        return operate(a.expr, b.expr)

    return rule


def _negate(call: _Call) -> pl.Expr:
    (a,) = call.args
    return pl.when(a.expr != _SMALLEST).then(-a.expr) if a.kind is Kind.INT else -a.expr


def _absolute(call: _Call) -> pl.Expr:
    (a,) = call.args
    return pl.when(a.expr != _SMALLEST).then(a.expr.abs()) if a.kind is Kind.INT else a.expr.abs()


def _divide(divide: _Binary) -> _Rule:
    def rule(call: _Call) -> pl.Expr:
        a, b = (_spread(term) for term in call.args)
        return pl.when(b != 0).then(divide(a, b))

    return rule


def _spread(term: _Term) -> pl.Expr:
    """Give every row its own float. polars multiplies by the reciprocal where it sees that a divisor repeats, and so
    the last digit of a quotient would depend on which records share a batch; a shifted column hides it."""
    if isinstance(term.node, Literal):
        value = None if term.node.value is None else float(term.node.value)  # type: ignore[arg-type]
        return pl.repeat(value, pl.len(), dtype=pl.Float64).shift(0)
    return term.to(Kind.FLOAT).shift(0)


def _floored(of_floats: _Rule, of_ints: _Binary) -> _Rule:
    def rule(call: _Call) -> pl.Expr:
        if call.result is Kind.FLOAT:
            return of_floats(call)
        a, b = (term.expr for term in call.args)
        divisor = call.args[1].node
        if isinstance(divisor, Literal) and divisor.value != -1:
            return of_ints(a, b)
        return pl.when((b != -1) | (a != _SMALLEST)).then(of_ints(a, b))  # its quotient has 65 bits

    return rule


def _compare(operate: _Binary, mirrored: _Binary) -> _Rule:
    def rule(call: _Call) -> pl.Expr:
        kind = _wide(*call.args)
        a, b = call.args
        if isinstance(a.node, Literal):
            # polars 2.1 gives one row for `constant < column` where the column happens to hold one repeated scalar.
            return mirrored(b.to(kind), a.to(kind))
        return operate(a.to(kind), b.to(kind))

    return rule


def _is_in(call: _Call) -> pl.Expr:
    value, *options = call.args
    kind = _wide(*call.args) if options else value.kind
    values = [_plain(o.node.value) for o in options if isinstance(o.node, Literal) and o.kind is kind]
    if len(values) == len(options) and None not in values:
        return value.to(kind).is_in(pl.lit(values, dtype=pl.List(_DTYPES[kind])))
    return reduce(operator.or_, (value.to(k) == o.to(k) for o in options for k in [_wide(value, o)]))


def _conditional(call: _Call) -> pl.Expr:
    condition, then, otherwise = call.args
    return pl.when(condition.expr).then(then.to(call.result)).otherwise(otherwise.to(call.result))


def _fill_null(call: _Call) -> pl.Expr:
    return pl.coalesce(*(term.to(call.result) for term in call.args))


def _of_floats(compute: Callable[[pl.Expr], pl.Expr]) -> _Rule:
    return lambda call: compute(call.args[0].expr) if call.result is Kind.FLOAT else call.args[0].expr


def _round(call: _Call) -> pl.Expr:
    value, digits = call.args
    return value.expr if value.kind is Kind.INT else value.expr.round(_constant(digits), mode="half_to_even")


def _square_root(call: _Call) -> pl.Expr:
    value = call.args[0].to(Kind.FLOAT)
    return pl.when(value >= 0).then(value.sqrt())


def _replace(call: _Call) -> pl.Expr:
    text, old, new = call.args
    return text.expr.str.replace_all(_constant(old), _constant(new), literal=True)


def _slice(call: _Call) -> pl.Expr:
    text, start, length = call.args
    return text.expr.str.slice(_constant(start), _constant(length))


def _constant(term: _Term) -> Any:
    assert isinstance(term.node, Literal)  # `type_of` has checked it
    return term.node.value


def _to_str(call: _Call) -> pl.Expr:
    (value,) = call.args
    if value.kind is Kind.DATETIME:
        return value.expr.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    return value.expr.cast(pl.String)


def _to_int(call: _Call) -> pl.Expr:
    return call.args[0].expr.cast(pl.Int64, strict=False)


def _to_float(call: _Call) -> pl.Expr:
    (value,) = call.args
    number = value.expr.cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(number) if value.kind is Kind.STR else number


def _plainly(apply: Callable[..., pl.Expr]) -> _Rule:
    return lambda call: apply(*(term.expr for term in call.args))


def _part(read: Callable[[pl.Expr], pl.Expr]) -> _Rule:
    return lambda call: read(call.args[0].expr).cast(pl.Int64)


_RULES: dict[str, _Rule] = {
    "add": _arithmetic(operator.add),
    "sub": _arithmetic(operator.sub),
    "mul": _arithmetic(operator.mul),
    "div": _divide(operator.truediv),
    "floordiv": _floored(_divide(lambda a, b: (a / b).floor()), operator.floordiv),
    "mod": _floored(_divide(lambda a, b: a - (a / b).floor() * b), operator.mod),
    "neg": _negate,
    "eq": _compare(operator.eq, operator.eq),
    "ne": _compare(operator.ne, operator.ne),
    "lt": _compare(operator.lt, operator.gt),
    "le": _compare(operator.le, operator.ge),
    "gt": _compare(operator.gt, operator.lt),
    "ge": _compare(operator.ge, operator.le),
    "and": _plainly(operator.and_),
    "or": _plainly(operator.or_),
    "not": _plainly(operator.invert),
    "is_null": _plainly(pl.Expr.is_null),
    "is_not_null": _plainly(pl.Expr.is_not_null),
    "fill_null": _fill_null,
    "is_in": _is_in,
    "if": _conditional,
    "abs": _absolute,
    "floor": _of_floats(pl.Expr.floor),
    "ceil": _of_floats(pl.Expr.ceil),
    "round": _round,
    "sqrt": _square_root,
    "lower": _plainly(lambda text: text.str.to_lowercase()),
    "upper": _plainly(lambda text: text.str.to_uppercase()),
    "strip": _plainly(lambda text: text.str.strip_chars()),
    "length": _part(lambda text: text.str.len_chars()),
    "contains": _plainly(lambda text, part: text.str.contains(part, literal=True)),
    "starts_with": _plainly(lambda text, part: text.str.starts_with(part)),
    "ends_with": _plainly(lambda text, part: text.str.ends_with(part)),
    "replace": _replace,
    "slice": _slice,
    "year": _part(lambda time: time.dt.year()),
    "month": _part(lambda time: time.dt.month()),
    "day": _part(lambda time: time.dt.day()),
    "weekday": _part(lambda time: time.dt.weekday()),
    "hour": _part(lambda time: time.dt.hour()),
    "minute": _part(lambda time: time.dt.minute()),
    "second": _part(lambda time: time.dt.second()),
    "to_str": _to_str,
    "to_int": _to_int,
    "to_float": _to_float,
}
FUNCTIONS = frozenset(_RULES)
"""The names of the functions that can be compiled."""
