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

import polars as pl

from dsl.plan.exprs import Column, ExprNode, Literal
from dsl.plan.functions import type_of
from dsl.plan.types import Schema
from flows.compile.functions import RULES
from flows.compile.terms import CallTerm, Term, literal
from flows.compile.terms import frame_schema as frame_schema
from flows.compile.terms import polars_dtype as polars_dtype

FUNCTIONS = frozenset(RULES)
"""The names of the functions that can be compiled."""

_ONE_ROW = pl.DataFrame({"": [0]})


def compile_expr(expr: ExprNode, schema: Schema) -> pl.Expr:
    """Turn an expression over a stream's columns into one of polars, of the dtype of its declared type.

    An expression without columns gives one value: use it in `with_columns` or `filter`, which repeat it, not in a
    `select` of its own. Raises `DeclarationError` for unknown columns and arguments that do not fit.
    """
    return _compile(expr, schema).expr


def _compile(expr: ExprNode, schema: Schema) -> Term:
    kind = type_of(expr, schema).kind
    if isinstance(expr, Column):
        return Term(pl.col(expr.name), kind, expr)
    if isinstance(expr, Literal):
        return Term(literal(expr.value, kind), kind, expr)
    call = CallTerm([_compile(arg, schema) for arg in expr.args], kind)
    if expr.function == "if" and isinstance(call.args[0].node, Literal):
        taken = call.args[1 if call.args[0].node.value else 2]
        return Term(taken.to(kind), kind, taken.node)
    found = RULES[expr.function](call)
    if all(isinstance(term.node, Literal) for term in call.args):
        constant = _ONE_ROW.select(found).item()
        return Term(literal(constant, kind), kind, Literal(constant))
    return Term(found, kind, expr)
