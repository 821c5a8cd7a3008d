"""Compiled expressions against the naive interpreter, and the corners of their meaning one by one."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from dsl.plan.exprs import Call, Column, ExprNode, Literal
from dsl.plan.functions import FUNCTIONS, type_of
from dsl.plan.types import DataType, Field, Kind, Schema
from flows import col, lit, when
from flows.compile import expressions
from flows.compile.expressions import compile_expr, frame_schema, polars_dtype
from tests.drawn import drawn
from tests.oracle.expressions import FUNCTIONS as ORACLE_FUNCTIONS
from tests.oracle.expressions import Row, evaluate

EASTERN = dt.timezone(dt.timedelta(hours=-5))
KINDS = (Kind.INT, Kind.FLOAT, Kind.STR, Kind.BOOL, Kind.DATETIME, Kind.DATE, Kind.DURATION)
SCHEMA = Schema(tuple(Field(f"{k.value}{n}", DataType(k, nullable=True)) for k in KINDS for n in (1, 2)))

_text = st.one_of(
    st.sampled_from(["", "a", "A b", "ß", "ΑΣ", "İ", "  x ", "5", "-12", "1.5", "1e3", "x5", "é😀", "\t\u2003y"]),
    st.text("aAbéßΣ😀 5-.+e", max_size=6),
)
VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.INT: st.one_of(st.integers(-5, 5), st.sampled_from([-(2**63), 2**63 - 1, 2**53 + 1, -7])),
    Kind.FLOAT: st.one_of(
        st.sampled_from([0.0, -0.0, 0.5, -2.5, 1.5, 2.675, 1e-7, 1e16]),
        st.floats(-1e6, 1e6, allow_nan=False, allow_subnormal=False),
    ),
    Kind.STR: _text,
    Kind.BOOL: st.booleans(),
    Kind.DATETIME: st.datetimes(dt.datetime(1960, 1, 1), dt.datetime(2040, 1, 1)).map(
        lambda t: t.replace(tzinfo=dt.UTC)
    ),
    Kind.DATE: st.dates(dt.date(1960, 1, 1), dt.date(2040, 1, 1)),
    Kind.DURATION: st.timedeltas(dt.timedelta(-400), dt.timedelta(400)),
}
ROWS = st.lists(
    st.fixed_dictionaries({f.name: st.none() | VALUES[f.type.kind] for f in SCHEMA}), min_size=1, max_size=6
)
Draw = Callable[[Any], Any]


def frame(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=frame_schema(SCHEMA), orient="row")


def compute(expr: flows.Expr, **values: Any) -> Any:
    """Evaluate an expression over one row of columns whose kinds are those of the values."""
    from dsl.plan.types import kind_of_value

    schema = Schema(tuple(Field(n, kind_of_value(v).as_nullable()) for n, v in values.items()))
    data = pl.DataFrame({n: [v] for n, v in values.items()} or {"_": [0]}, schema=frame_schema(schema) or None)
    return data.with_columns(result=compile_expr(expr.node, schema))["result"][0]


# One random expression of a wanted kind; every function of the catalogue is reachable.

_NUMBER = (Kind.INT, Kind.FLOAT)
_TIME = (Kind.DATETIME, Kind.DATE)


def build(draw: Draw, kind: Kind, depth: int) -> ExprNode:
    if depth == 0 or draw(st.integers(0, 5)) == 0:
        if draw(st.booleans()):
            return Column(f"{kind.value}{draw(st.sampled_from([1, 2]))}")
        return Literal(draw(VALUES[kind]))
    function, kinds = draw(st.sampled_from(SHAPES[kind]))
    if function == "round":
        return Call(function, (build(draw, kind, depth - 1), Literal(draw(st.integers(0, 3)))))
    if function == "slice":
        start, length = draw(st.integers(-4, 4)), draw(st.integers(0, 4))
        return Call(function, (build(draw, kind, depth - 1), Literal(start), Literal(length)))
    if function == "replace":
        old = Literal(draw(st.sampled_from(["a", "", "  ", "ß", "$", ".", "5"])))
        return Call(function, (build(draw, kind, depth - 1), old, Literal(draw(_text))))
    return Call(function, tuple(build(draw, k, depth - 1) for k in kinds))


Shape = tuple[str, tuple[Kind, ...]]
I, F, S, B, T, D, U = KINDS  # noqa: E741  (one letter a kind keeps the table readable)


def _same(kind: Kind) -> list[Shape]:
    return [("fill_null", (kind, kind)), ("if", (B, kind, kind))]


SHAPES: dict[Kind, list[Shape]] = {
    I: [
        *[(f, (I, I)) for f in ("add", "sub", "mul", "floordiv", "mod")],
        *[(f, (I,)) for f in ("neg", "abs", "floor", "ceil")], ("round", (I,)), ("length", (S,)),
        *[(f, (t,)) for f in ("year", "month", "day", "weekday") for t in _TIME],
        *[(f, (T,)) for f in ("hour", "minute", "second")],
        *[("to_int", (k,)) for k in (I, F, S, B)], *_same(I),
    ],
    F: [
        *[(f, p) for f in ("add", "sub", "mul", "floordiv", "mod") for p in ((F, F), (I, F), (F, I))],
        *[("div", p) for p in ((F, F), (I, F), (I, I))],
        *[(f, (F,)) for f in ("neg", "abs", "floor", "ceil", "sqrt")], ("sqrt", (I,)), ("round", (F,)),
        *[("to_float", (k,)) for k in (I, F, S, B)], ("if", (B, I, F)), ("fill_null", (F, I)), *_same(F),
    ],
    S: [
        ("add", (S, S)), *[(f, (S,)) for f in ("lower", "upper", "strip")], ("replace", (S,)), ("slice", (S,)),
        *[("to_str", (k,)) for k in (I, S, B, T, D)], *_same(S),
    ],
    B: [
        *[(f, (k, k)) for f in ("eq", "ne", "lt", "le", "gt", "ge") for k in KINDS],
        *[(f, p) for f in ("eq", "lt", "ge") for p in ((I, F), (F, I), (T, D), (D, T))],
        *[("is_in", (k, k, k)) for k in KINDS], ("is_in", (I, F)), ("is_in", (S,)),
        *[(f, (k,)) for f in ("is_null", "is_not_null") for k in KINDS],
        ("and", (B, B)), ("or", (B, B)), ("not", (B,)),
        *[(f, (S, S)) for f in ("contains", "starts_with", "ends_with")], *_same(B),
    ],
    T: [("add", (T, U)), ("add", (U, T)), ("sub", (T, U)), *_same(T)],
    D: _same(D),
    U: [("sub", (T, T)), ("add", (U, U)), ("sub", (U, U)), ("neg", (U,)), *_same(U)],
}  # fmt: skip


@st.composite
def expressions_of_any_kind(draw: Draw) -> ExprNode:
    return build(draw, draw(st.sampled_from(KINDS)), draw(st.integers(1, 3)))


@drawn(400)
@given(expressions_of_any_kind(), ROWS)
def test_compiled_expressions_agree_with_the_interpreter(expr: ExprNode, rows: list[Row]) -> None:
    result = frame(rows).with_columns(result=compile_expr(expr, SCHEMA))["result"]
    assert result.dtype == polars_dtype(type_of(expr, SCHEMA))
    wanted = [evaluate(expr, row, SCHEMA) for row in rows]
    assert [_key(v) for v in result] == [_key(v) for v in wanted]


def _key(value: Any) -> Any:
    """Make values comparable: a NaN equals itself, and True is not 1."""
    return type(value).__name__, "nan" if isinstance(value, float) and math.isnan(value) else value


def test_the_catalogue_the_compiler_the_oracle_and_this_test_know_the_same_functions() -> None:
    assert set(FUNCTIONS) == expressions.FUNCTIONS == ORACLE_FUNCTIONS
    assert {function for shapes in SHAPES.values() for function, _ in shapes} == set(FUNCTIONS)


CORNERS: list[tuple[str, flows.Expr, dict[str, Any], Any]] = [
    ("division of ints is a float", col("a") / 2, {"a": 7}, 3.5),
    ("division by zero is null", col("a") / col("b"), {"a": 7, "b": 0}, None),
    ("division of floats by zero is null", col("a") / col("b"), {"a": 7.0, "b": 0.0}, None),
    ("floor division rounds down", col("a") // 2, {"a": -7}, -4),
    ("floor division by zero is null", col("a") // 0, {"a": -7}, None),
    ("modulo has the sign of the divisor", col("a") % -3, {"a": 7}, -2),
    ("modulo of floats too", col("a") % 3.0, {"a": -7.0}, 2.0),
    ("modulo by zero is null", col("a") % 0, {"a": 7}, None),
    ("an int that overflows is null", col("a") + 1, {"a": 2**63 - 1}, None),
    ("a product that overflows is null", col("a") * col("a"), {"a": 2**62}, None),
    ("the smallest int has no negative", -col("a"), {"a": -(2**63)}, None),
    ("the smallest int has no absolute value", col("a").abs(), {"a": -(2**63)}, None),
    ("the smallest int by -1", col("a") // col("b"), {"a": -(2**63), "b": -1}, None),
    ("a tie goes to the even digit", col("a").round(), {"a": 2.5}, 2.0),
    ("a tie goes to the even digit (2)", col("a").round(1), {"a": 0.25}, 0.2),
    ("ints stay ints when rounded", col("a").round(2), {"a": 5}, 5),
    ("the root of a negative number is null", col("a").sqrt(), {"a": -1}, None),
    ("null and false is false", (col("a").is_null() & col("b")), {"a": 1, "b": None}, False),
    ("contains is literal", col("a").contains("."), {"a": "abc"}, False),
    ("replace is literal", col("a").replace("$", "\\0$1"), {"a": "a$b"}, "a\\0$1b"),
    ("length counts characters", col("a").length(), {"a": "é😀"}, 2),
    ("slice from the end", col("a").slice(-2, 1), {"a": "abc"}, "b"),
    ("Sunday is 7", col("a").weekday(), {"a": dt.date(2013, 1, 6)}, 7),
    ("hours are UTC", col("a").hour(), {"a": dt.datetime(2013, 1, 1, 20, tzinfo=EASTERN)}, 1),
    ("text to int", col("a").cast(int), {"a": "12x"}, None),
    ("text with a point to int", col("a").cast(int), {"a": "1.0"}, None),
    ("text beyond 64 bits", col("a").cast(int), {"a": "9223372036854775808"}, None),
    ("a float to int is cut", col("a").cast(int), {"a": -1.9}, -1),
    ("infinity to int", col("a").cast(int), {"a": math.inf}, None),
    ("NaN to int", col("a").cast(int), {"a": math.nan}, None),
    ("text of infinity is no number", col("a").cast(float), {"a": "inf"}, None),
    ("bool to text", col("a").cast(str), {"a": True}, "true"),
    ("is_in nothing", col("a").is_in([]), {"a": 1}, False),
    ("NaN equals itself", col("a") == col("a"), {"a": math.nan}, True),
    ("a condition that is null is not true", when(lit(1) > col("a") / 0).then(1).otherwise(2), {"a": 1}, 2),
    ("null in one branch", when(col("a") > 0).then(None).otherwise(col("a")), {"a": 1}, None),
    ("branches meet in float", when(col("a") > 0).then(1).otherwise(2.5), {"a": 1}, 1.0),
    ("bytes compare", col("a") < b"b", {"a": b"a"}, True),
    ("a date is its midnight", col("a") == dt.datetime(2013, 1, 1), {"a": dt.date(2013, 1, 1)}, True),
    ("a naive literal is UTC", col("a") == dt.datetime(2013, 1, 1, 1), {"a": dt.datetime(2013, 1, 1, 1)}, True),
    (
        "an aware literal is converted",
        col("a") == dt.datetime(2013, 1, 1, tzinfo=EASTERN),
        {"a": dt.datetime(2013, 1, 1, 5, tzinfo=dt.UTC)},
        True,
    ),
]


@pytest.mark.parametrize(("expr", "values", "wanted"), [c[1:] for c in CORNERS], ids=[c[0] for c in CORNERS])
def test_corner(expr: flows.Expr, values: dict[str, Any], wanted: Any) -> None:
    # A column whose only value is null has to have a kind: those named here are conditions.
    values = {n: False if v is None else v for n, v in values.items()}
    found = compute(expr, **values)
    assert _key(found) == _key(wanted)


@pytest.mark.parametrize("value", [0.1, -0.0, 1e16, 1.5e-7, 1e300, 5e-324, 123456789.125])
def test_floats_as_text_read_back(value: float) -> None:
    text = compute(col("a").cast(str), a=value)
    assert math.copysign(1, float(text)) == math.copysign(1, value)
    assert float(text) == value


def test_objects_are_carried_and_tested_for_null() -> None:
    schema = Schema((Field("tags", DataType(Kind.OTHER, nullable=True)),))
    data = pl.DataFrame({"tags": pl.Series([["a"], None], dtype=pl.Object)})
    assert frame_schema(schema) == {"tags": pl.Object()}
    result = data.with_columns(result=compile_expr(col("tags").is_null().node, schema))
    assert result["result"].to_list() == [False, True]
    assert result["tags"].to_list() == [["a"], None]


def test_a_constant_fills_its_column() -> None:
    data = pl.DataFrame({"a": [1, 2, 3]})
    assert data.with_columns(b=compile_expr(lit("x").node, Schema(())))["b"].to_list() == ["x"] * 3


@pytest.mark.parametrize("flag", [True, False, None])
def test_a_constant_compares_with_a_column_of_one_repeated_value(flag: bool | None) -> None:
    # polars loses rows here when the constant stands on the left and all rows take the same branch.
    schema = Schema((Field("flag", DataType(Kind.BOOL, nullable=True)),))
    data = pl.DataFrame({"flag": [flag] * 3}, schema=frame_schema(schema))
    expr = (lit(1) + 1) > when(col("flag")).then(1).otherwise(2)
    assert data.with_columns(r=compile_expr(expr.node, schema))["r"].to_list() == [flag is True] * 3


def test_unknown_columns_are_named() -> None:
    with pytest.raises(flows.DeclarationError, match="Did you mean 'int1'"):
        compile_expr(col("int11").node, SCHEMA)
