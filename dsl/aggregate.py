"""Aggregates: what a declared table keeps of each group. Nulls are left out, as in SQL."""

from __future__ import annotations

import msgspec

from dsl.errors import DeclarationError
from dsl.expr import Expr, col
from dsl.plan.exprs import ExprNode, render
from dsl.plan.functions import type_of
from dsl.plan.nodes import AggregateCall
from dsl.plan.types import DataType, Kind, Schema

_INT, _FLOAT = DataType(Kind.INT), DataType(Kind.FLOAT)


class Aggregate(msgspec.Struct, frozen=True):
    """An aggregate waiting for its name: `flights=count()`."""

    function: str
    argument: ExprNode | None = None
    options: tuple[tuple[str, float], ...] = ()

    def bind(self, name: str, schema: Schema) -> AggregateCall:
        """Check the argument against the stream's columns; raises `DeclarationError`."""
        given = None if self.argument is None else type_of(self.argument, schema)
        return AggregateCall(
            name=name,
            function=self.function,
            argument=self.argument,
            argument_type=given,
            options=self.options,
            result=self._result(name, given),
        )

    def _result(self, name: str, given: DataType | None) -> DataType:
        if self.function == "count":
            return _INT
        assert given is not None
        numeric = self.function in ("sum", "mean", "quantile")
        if (numeric and not given.kind.is_number) or not given.kind.is_ordered:
            wanted = "numbers" if numeric else "values that can be compared"
            assert self.argument is not None
            raise DeclarationError(
                f"{name}={self.function}({render(self.argument)}) needs {wanted}, "
                f"but {render(self.argument)} is {given.told}."
            )
        if self.function == "approx_distinct":
            return _INT
        if self.function == "sum":
            return DataType(given.kind)
        if self.function in ("mean", "quantile"):
            return _FLOAT.as_nullable(given.nullable)
        return given


def _argument(what: Expr | str) -> ExprNode:
    return (col(what) if isinstance(what, str) else what).node


def count(what: Expr | str | None = None) -> Aggregate:
    """Count records, or the values of a column that are not null. Exact."""
    return Aggregate("count", None if what is None else _argument(what))


def sum(what: Expr | str) -> Aggregate:
    """Add numbers; 0 where there are none. Exact for integers, within 1e-12 relative for floats."""
    return Aggregate("sum", _argument(what))


def mean(what: Expr | str) -> Aggregate:
    """Average numbers; null where there are none."""
    return Aggregate("mean", _argument(what))


def min(what: Expr | str) -> Aggregate:
    """Keep the smallest value."""
    return Aggregate("min", _argument(what))


def max(what: Expr | str) -> Aggregate:
    """Keep the largest value."""
    return Aggregate("max", _argument(what))


def first(what: Expr | str) -> Aggregate:
    """Keep the value (null too) of the earliest record by event time, then partition, then offset."""
    return Aggregate("first", _argument(what))


def last(what: Expr | str) -> Aggregate:
    """Keep the value (null too) of the latest record by event time, then partition, then offset."""
    return Aggregate("last", _argument(what))


def quantile(what: Expr | str, q: float, *, error: float = 0.01) -> Aggregate:
    """Estimate the q-quantile (0 ≤ q ≤ 1) with a relative error of at most `error`.

    Exact for groups of up to 64 values, with linear interpolation between neighbours; then a DDSketch of
    logarithmic buckets (Masson, Rim, Lee: DDSketch, VLDB 2019), which gives the same answer however the input is cut.
    """
    if not 0 <= q <= 1:
        raise DeclarationError(f"quantile(q={q!r}): q must be between 0 and 1, such as 0.95.")
    if not 0.0001 <= error <= 0.5:
        raise DeclarationError(f"quantile(error={error!r}): the relative error must be between 0.0001 and 0.5.")
    return Aggregate("quantile", _argument(what), (("error", float(error)), ("q", float(q))))


def approx_distinct(what: Expr | str, *, precision: int = 12) -> Aggregate:
    """Estimate the number of different values with a HyperLogLog of 2^precision registers.

    The standard error is 1.04 / sqrt(2^precision): 1.6 % at the default of 12.
    """
    if not 4 <= precision <= 18:
        raise DeclarationError(f"approx_distinct(precision={precision!r}): expected 4 to 18.")
    return Aggregate("approx_distinct", _argument(what), (("precision", float(precision)),))
