"""The catalogue of expression functions: for each its argument kinds and the type of its result.

The columnar compiler has one entry for each of these names; a test holds the two lists together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dsl.errors import DeclarationError, nearest
from dsl.plan.exprs import Call, Column, ExprNode, Literal, render
from dsl.plan.types import DataType, Kind, Schema, kind_of_value

Rule = Callable[[Sequence[DataType]], Kind | None]
"""Maps argument types to the result's kind, or None when the arguments do not fit."""

TIME = (Kind.DATETIME, Kind.DATE)


def _comparable(a: Kind, b: Kind) -> bool:
    return a is b or (a.is_number and b.is_number) or Kind.OTHER in (a, b) or (a in TIME and b in TIME)


def _arithmetic(types: Sequence[DataType]) -> Kind | None:
    a, b = (t.kind for t in types)
    if a.is_number and b.is_number:
        return Kind.FLOAT if Kind.FLOAT in (a, b) else Kind.INT
    return None


def _add(types: Sequence[DataType]) -> Kind | None:
    a, b = (t.kind for t in types)
    if a is b and a in (Kind.STR, Kind.DURATION):
        return a
    if {a, b} == {Kind.DATETIME, Kind.DURATION}:
        return Kind.DATETIME
    return _arithmetic(types)


def _sub(types: Sequence[DataType]) -> Kind | None:
    a, b = (t.kind for t in types)
    if a is b and a in (Kind.DATETIME, Kind.DURATION):
        return Kind.DURATION
    if (a, b) == (Kind.DATETIME, Kind.DURATION):
        return Kind.DATETIME
    return _arithmetic(types)


def _div(types: Sequence[DataType]) -> Kind | None:
    return Kind.FLOAT if all(t.kind.is_number for t in types) else None


def _compare(types: Sequence[DataType]) -> Kind | None:
    return Kind.BOOL if _comparable(types[0].kind, types[1].kind) else None


def _all(kind: Kind, result: Kind) -> Rule:
    return lambda types: result if all(t.kind is kind for t in types) else None


def _first(kinds: tuple[Kind, ...], result: Kind | None = None) -> Rule:
    return lambda types: (result or types[0].kind) if types[0].kind in kinds else None


def _any(result: Kind) -> Rule:
    return lambda types: result


def _common(types: Sequence[DataType]) -> Kind | None:
    kinds = {t.kind for t in types if not (t.kind is Kind.OTHER and t.nullable)}
    if len(kinds) == 1:
        return kinds.pop()
    return Kind.FLOAT if kinds == {Kind.INT, Kind.FLOAT} else None


def _conditional(types: Sequence[DataType]) -> Kind | None:
    return _common(types[1:]) if types[0].kind is Kind.BOOL else None


def _is_in(types: Sequence[DataType]) -> Kind | None:
    return Kind.BOOL if all(_comparable(types[0].kind, t.kind) for t in types[1:]) else None


_NUMBERS = (Kind.INT, Kind.FLOAT)
_STR = (Kind.STR,)
FUNCTIONS: dict[str, tuple[int | None, Rule]] = {
    "add": (2, _add), "sub": (2, _sub), "mul": (2, _arithmetic), "div": (2, _div),
    "floordiv": (2, _arithmetic), "mod": (2, _arithmetic), "neg": (1, _first((*_NUMBERS, Kind.DURATION))),
    "eq": (2, _compare), "ne": (2, _compare), "lt": (2, _compare), "le": (2, _compare),
    "gt": (2, _compare), "ge": (2, _compare),
    "and": (2, _all(Kind.BOOL, Kind.BOOL)), "or": (2, _all(Kind.BOOL, Kind.BOOL)),
    "not": (1, _all(Kind.BOOL, Kind.BOOL)),
    "is_null": (1, _any(Kind.BOOL)), "is_not_null": (1, _any(Kind.BOOL)),
    "fill_null": (2, _common), "is_in": (None, _is_in), "if": (3, _conditional),
    "abs": (1, _first(_NUMBERS)), "floor": (1, _first(_NUMBERS)), "ceil": (1, _first(_NUMBERS)),
    "round": (2, _first(_NUMBERS)), "sqrt": (1, _first(_NUMBERS, Kind.FLOAT)),
    "lower": (1, _first(_STR)), "upper": (1, _first(_STR)), "strip": (1, _first(_STR)),
    "length": (1, _first(_STR, Kind.INT)), "contains": (2, _all(Kind.STR, Kind.BOOL)),
    "starts_with": (2, _all(Kind.STR, Kind.BOOL)), "ends_with": (2, _all(Kind.STR, Kind.BOOL)),
    "replace": (3, _all(Kind.STR, Kind.STR)), "slice": (3, _first(_STR)),
    "year": (1, _first(TIME, Kind.INT)), "month": (1, _first(TIME, Kind.INT)),
    "day": (1, _first(TIME, Kind.INT)), "weekday": (1, _first(TIME, Kind.INT)),
    "hour": (1, _first((Kind.DATETIME,), Kind.INT)), "minute": (1, _first((Kind.DATETIME,), Kind.INT)),
    "second": (1, _first((Kind.DATETIME,), Kind.INT)),
    "to_str": (1, _any(Kind.STR)), "to_int": (1, _any(Kind.INT)), "to_float": (1, _any(Kind.FLOAT)),
}  # fmt: skip

_NEVER_NULL = {"is_null", "is_not_null"}


def type_of(expr: ExprNode, schema: Schema) -> DataType:
    """Infer an expression's type over a schema.

    Raises `DeclarationError` for an unknown column (with the nearest name) or arguments that do not fit.
    """
    if isinstance(expr, Column):
        found = schema.get(expr.name)
        if found is None:
            raise unknown_column(expr.name, schema)
        return found
    if isinstance(expr, Literal):
        return kind_of_value(expr.value)
    types = [type_of(a, schema) for a in expr.args]
    arity, rule = FUNCTIONS[expr.function]
    kind = rule(types) if arity is None or arity == len(types) else None
    if kind is None:
        shown = ", ".join(f"{render(a)} is {t}" for a, t in zip(expr.args, types, strict=True))
        raise DeclarationError(f"{render(expr)!r} does not fit the types of its arguments: {shown}.")
    return DataType(kind, _nullable(expr, types))


def _nullable(call: Call, types: list[DataType]) -> bool:
    if call.function in _NEVER_NULL:
        return False
    if call.function == "fill_null":
        return types[1].nullable
    if call.function == "if":
        return any(t.nullable for t in types[1:])
    return any(t.nullable for t in types)


def unknown_column(name: str, schema: Schema) -> DeclarationError:
    """Build the error of a column that a schema does not have."""
    owner = schema.owner or "the stream"
    return DeclarationError(
        f"{owner} has no column {name!r}; its columns are {', '.join(schema.names)}.",
        suggestion=nearest(name, schema.names),
    )
