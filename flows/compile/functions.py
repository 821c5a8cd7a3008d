"""What each function of the catalogue is in polars; `expressions` says what they mean."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import polars as pl

from dsl.plan.exprs import Literal
from dsl.plan.types import Kind
from flows.compile.terms import DTYPES, CallTerm, Term, plain

_Rule = Callable[[CallTerm], pl.Expr]
_Binary = Callable[[pl.Expr, pl.Expr], pl.Expr]
_SMALLEST = -(2**63)


def _wide(*terms: Term) -> Kind:
    kinds = {t.kind for t in terms}
    if kinds == {Kind.INT, Kind.FLOAT}:
        return Kind.FLOAT
    return Kind.DATETIME if kinds == {Kind.DATE, Kind.DATETIME} else terms[0].kind


def _arithmetic(operate: _Binary) -> _Rule:
    def rule(call: CallTerm) -> pl.Expr:
        a, b = call.args
        if call.result is Kind.INT:
            # 128 bits hold every sum and product of 64; what does not fit on the way back becomes null.
            return operate(a.expr.cast(pl.Int128), b.expr.cast(pl.Int128)).cast(pl.Int64, strict=False)
        if call.result is Kind.FLOAT:
            return operate(a.to(Kind.FLOAT), b.to(Kind.FLOAT))
        return operate(a.expr, b.expr)

    return rule


def _negate(call: CallTerm) -> pl.Expr:
    (a,) = call.args
    return pl.when(a.expr != _SMALLEST).then(-a.expr) if a.kind is Kind.INT else -a.expr


def _absolute(call: CallTerm) -> pl.Expr:
    (a,) = call.args
    return pl.when(a.expr != _SMALLEST).then(a.expr.abs()) if a.kind is Kind.INT else a.expr.abs()


def _divide(divide: _Binary) -> _Rule:
    def rule(call: CallTerm) -> pl.Expr:
        a, b = (_spread(term) for term in call.args)
        return pl.when(b != 0).then(divide(a, b))

    return rule


def _spread(term: Term) -> pl.Expr:
    """Give every row its own float. polars multiplies by the reciprocal where it sees that a divisor repeats, and so
    the last digit of a quotient would depend on which records share a batch; a shifted column hides it."""
    if isinstance(term.node, Literal):
        value = None if term.node.value is None else float(term.node.value)  # type: ignore[arg-type]
        return pl.repeat(value, pl.len(), dtype=pl.Float64).shift(0)
    return term.to(Kind.FLOAT).shift(0)


def _floored(of_floats: _Rule, of_ints: _Binary) -> _Rule:
    def rule(call: CallTerm) -> pl.Expr:
        if call.result is Kind.FLOAT:
            return of_floats(call)
        a, b = (term.expr for term in call.args)
        divisor = call.args[1].node
        if isinstance(divisor, Literal) and divisor.value != -1:
            return of_ints(a, b)
        return pl.when((b != -1) | (a != _SMALLEST)).then(of_ints(a, b))  # its quotient has 65 bits

    return rule


def _compare(operate: _Binary, mirrored: _Binary) -> _Rule:
    def rule(call: CallTerm) -> pl.Expr:
        kind = _wide(*call.args)
        a, b = call.args
        if isinstance(a.node, Literal):
            # polars 2.1 gives one row for `constant < column` where the column happens to hold one repeated scalar.
            return mirrored(b.to(kind), a.to(kind))
        return operate(a.to(kind), b.to(kind))

    return rule


def _is_in(call: CallTerm) -> pl.Expr:
    value, *options = call.args
    kind = _wide(*call.args) if options else value.kind
    values = [plain(o.node.value) for o in options if isinstance(o.node, Literal) and o.kind is kind]
    if len(values) == len(options) and None not in values:
        return value.to(kind).is_in(pl.lit(values, dtype=pl.List(DTYPES[kind])))
    return reduce(operator.or_, (value.to(k) == o.to(k) for o in options for k in [_wide(value, o)]))


def _conditional(call: CallTerm) -> pl.Expr:
    condition, then, otherwise = call.args
    return pl.when(condition.expr).then(then.to(call.result)).otherwise(otherwise.to(call.result))


def _fill_null(call: CallTerm) -> pl.Expr:
    return pl.coalesce(*(term.to(call.result) for term in call.args))


def _of_floats(compute: Callable[[pl.Expr], pl.Expr]) -> _Rule:
    return lambda call: compute(call.args[0].expr) if call.result is Kind.FLOAT else call.args[0].expr


def _round(call: CallTerm) -> pl.Expr:
    value, digits = call.args
    return value.expr if value.kind is Kind.INT else value.expr.round(_constant(digits), mode="half_to_even")


def _square_root(call: CallTerm) -> pl.Expr:
    value = call.args[0].to(Kind.FLOAT)
    return pl.when(value >= 0).then(value.sqrt())


def _replace(call: CallTerm) -> pl.Expr:
    text, old, new = call.args
    return text.expr.str.replace_all(_constant(old), _constant(new), literal=True)


def _slice(call: CallTerm) -> pl.Expr:
    text, start, length = call.args
    return text.expr.str.slice(_constant(start), _constant(length))


def _constant(term: Term) -> Any:
    assert isinstance(term.node, Literal)  # `type_of` has checked it
    return term.node.value


def _to_str(call: CallTerm) -> pl.Expr:
    (value,) = call.args
    if value.kind is Kind.DATETIME:
        return value.expr.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    return value.expr.cast(pl.String)


def _to_int(call: CallTerm) -> pl.Expr:
    return call.args[0].expr.cast(pl.Int64, strict=False)


def _to_float(call: CallTerm) -> pl.Expr:
    (value,) = call.args
    number = value.expr.cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(number) if value.kind is Kind.STR else number


def _plainly(apply: Callable[..., pl.Expr]) -> _Rule:
    return lambda call: apply(*(term.expr for term in call.args))


def _part(read: Callable[[pl.Expr], pl.Expr]) -> _Rule:
    return lambda call: read(call.args[0].expr).cast(pl.Int64)


RULES: dict[str, _Rule] = {
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
