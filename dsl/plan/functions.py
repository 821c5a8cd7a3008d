"""The catalogue of expression functions: for each its argument kinds and the type of its result.

The columnar compiler (`flows/compile/expressions.py`) has one entry for each of these names and says what each
does; a test holds the two lists together.
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
    return (a is b and a is not Kind.OTHER) or (a.is_number and b.is_number) or (a in TIME and b in TIME)


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
    if kinds == {Kind.INT, Kind.FLOAT}:
        return Kind.FLOAT
    return kinds.pop() if len(kinds) == 1 and Kind.OTHER not in kinds else None


def _conditional(types: Sequence[DataType]) -> Kind | None:
    return _common(types[1:]) if types[0].kind is Kind.BOOL else None


def _is_in(types: Sequence[DataType]) -> Kind | None:
    return Kind.BOOL if all(_comparable(types[0].kind, t.kind) for t in types[1:]) else None


def _slice(types: Sequence[DataType]) -> Kind | None:
    return Kind.STR if [t.kind for t in types] == [Kind.STR, Kind.INT, Kind.INT] else None


def _round(types: Sequence[DataType]) -> Kind | None:
    return types[0].kind if types[0].kind.is_number and types[1].kind is Kind.INT else None


_NUMBERS = (Kind.INT, Kind.FLOAT)
_READABLE = (*_NUMBERS, Kind.BOOL, Kind.STR)
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
    "round": (2, _round), "sqrt": (1, _first(_NUMBERS, Kind.FLOAT)),
    "lower": (1, _first(_STR)), "upper": (1, _first(_STR)), "strip": (1, _first(_STR)),
    "length": (1, _first(_STR, Kind.INT)), "contains": (2, _all(Kind.STR, Kind.BOOL)),
    "starts_with": (2, _all(Kind.STR, Kind.BOOL)), "ends_with": (2, _all(Kind.STR, Kind.BOOL)),
    "replace": (3, _all(Kind.STR, Kind.STR)), "slice": (3, _slice),
    "year": (1, _first(TIME, Kind.INT)), "month": (1, _first(TIME, Kind.INT)),
    "day": (1, _first(TIME, Kind.INT)), "weekday": (1, _first(TIME, Kind.INT)),
    "hour": (1, _first((Kind.DATETIME,), Kind.INT)), "minute": (1, _first((Kind.DATETIME,), Kind.INT)),
    "second": (1, _first((Kind.DATETIME,), Kind.INT)),
    "to_str": (1, _first((*_READABLE, *TIME), Kind.STR)),
    "to_int": (1, _first(_READABLE, Kind.INT)), "to_float": (1, _first(_READABLE, Kind.FLOAT)),
}  # fmt: skip

CONSTANT_ARGUMENTS = {"round": (1,), "slice": (1, 2), "replace": (1, 2)}
"""The positions of arguments that must be literals."""

_NEVER_NULL = {"is_null", "is_not_null"}
_COMPARISONS = {"eq", "ne", "lt", "le", "gt", "ge", "is_in"}
_DIVISIONS = {"div", "floordiv", "mod"}


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
    _check_literals(expr)
    arity, rule = FUNCTIONS[expr.function]
    kind = rule(types) if arity is None or arity == len(types) else None
    if kind is None:
        given = zip(expr.args, types, strict=True)
        shown = ", ".join(f"{render(a)} is {'null' if a == Literal(None) else t.told}" for a, t in given)
        raise DeclarationError(f"{render(expr)!r} does not fit the types of its arguments: {shown}.")
    return DataType(kind, _nullable(expr, types))


def _check_literals(call: Call) -> None:
    if call.function in _COMPARISONS and Literal(None) in call.args:
        raise DeclarationError(
            f"{render(call)!r} is never true: comparing with None gives null. Use .is_null() or .is_not_null()."
        )
    for position in CONSTANT_ARGUMENTS.get(call.function, ()):
        given = call.args[position]
        if not isinstance(given, Literal):
            raise DeclarationError(f"{render(call)!r}: {render(given)} must be a constant, not computed per record.")


def _nullable(call: Call, types: list[DataType]) -> bool:
    if call.function in _NEVER_NULL:
        return False
    if call.function == "fill_null":
        return types[1].nullable
    if call.function == "if":
        return any(t.nullable for t in types[1:])
    return any(t.nullable for t in types) or _may_fail(call, types)


def _may_fail(call: Call, types: list[DataType]) -> bool:
    """Tell whether a function may give null where its arguments are not null.

    An integer overflow is left out of this: it gives null too, but is too rare to mark every sum as nullable.
    """
    if call.function in _DIVISIONS:
        divisor = call.args[1]
        return not (isinstance(divisor, Literal) and divisor.value)
    if call.function == "to_int":
        return types[0].kind in (Kind.STR, Kind.FLOAT)
    return call.function == "sqrt" or (call.function == "to_float" and types[0].kind is Kind.STR)


def unknown_column(name: str, schema: Schema) -> DeclarationError:
    """Build the error of a column that a schema does not have."""
    owner = schema.owner or "the stream"
    return DeclarationError(
        f"{owner} has no column {name!r}; its columns are {', '.join(schema.names)}.",
        suggestion=nearest(name, schema.names),
    )
