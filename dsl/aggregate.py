"""Aggregates: what a declared table keeps of each group. Nulls are left out, as in SQL.

In the examples `aggregated(…)` shows what aggregates make of four departures at 0, 60, 120 and 180: of UA, 5 minutes
late, DL, 90, UA, which never left, and AA, 30.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any

import msgspec

from dsl.checks import type_of_value
from dsl.errors import DeclarationError
from dsl.expr import Expr, col
from dsl.fold import Fold, checked_fold
from dsl.plan.exprs import ExprNode, render
from dsl.plan.functions import type_of
from dsl.plan.nodes import AggregateCall
from dsl.plan.types import DataType, Kind, Schema, value_name

_INT, _FLOAT, _LIST = DataType(Kind.INT), DataType(Kind.FLOAT), DataType(Kind.OTHER)
_OF_NUMBERS = ("sum", "mean", "quantile", "var", "std", "histogram")
_RESULTS = {"approx_distinct": _INT, "collect": _LIST, "top_k": _LIST, "histogram": _LIST}
MOST_COLLECTED, MOST_COUNTED, MOST_BOUNDS = 1000, 10_000, 1000


class Aggregate(msgspec.Struct, frozen=True):
    """An aggregate waiting for its name: `flights=count()`."""

    function: str
    argument: ExprNode | None = None
    by: ExprNode | None = None
    options: tuple[tuple[str, float], ...] = ()
    bounds: tuple[float, ...] = ()
    fold: Fold | None = None

    def bind(self, name: str, schema: Schema) -> AggregateCall:
        """Check the argument against the stream's columns; raises `DeclarationError`."""
        given, compared = self._type(name, "argument", schema), self._type(name, "by", schema)
        return AggregateCall(
            name=name,
            function=self.function,
            argument=self.argument,
            argument_type=given,
            by=self.by,
            by_type=compared,
            options=self.options,
            bounds=self.bounds,
            step="" if self.fold is None else self.fold.name,
            accumulator="" if self.fold is None else value_name(self.fold.type),
            result=self._result(given, compared),
        )

    def _type(self, name: str, role: str, schema: Schema) -> DataType | None:
        expr: ExprNode | None = getattr(self, role)
        if expr is None:
            return None
        found = type_of(expr, schema)
        numeric = self.function in _OF_NUMBERS
        counts_any = self.function == "count"
        if not counts_any and ((numeric and not found.kind.is_number) or not found.kind.is_ordered):
            wanted = "numbers" if numeric else "values that can be compared"
            text = render(expr) if role == "argument" else f"{role}={render(expr)}"
            raise DeclarationError(
                f"{name}={self.function}({text}) needs {wanted}, but {render(expr)} is {found.told}."
            )
        return found

    def _result(self, given: DataType | None, compared: DataType | None) -> DataType:
        if self.function == "count":
            return _INT
        if self.fold is not None:
            return type_of_value(self.fold.type)
        assert given is not None
        if self.function in _RESULTS:
            return _RESULTS[self.function]
        if self.function == "sum":
            return DataType(given.kind)
        if self.function in ("mean", "quantile"):
            return _FLOAT.as_nullable(given.nullable)
        if self.function in ("var", "std"):
            return _FLOAT.as_nullable()
        return given.as_nullable(given.nullable or compared.nullable) if compared is not None else given


def _argument(what: Expr | str) -> ExprNode:
    return (col(what) if isinstance(what, str) else what).node


def count(what: Expr | str | None = None) -> Aggregate:
    """Count records, or the values of a column that are not null. Exact.

    >>> aggregated(flights=count(), known=count("delay"))
    {'flights': 4, 'known': 3}
    """
    return Aggregate("count", None if what is None else _argument(what))


def sum(what: Expr | str) -> Aggregate:
    """Add numbers; 0 where there are none. Exact for integers, within 1e-12 relative for floats.

    >>> aggregated(lost=sum("delay"))
    {'lost': 125.0}
    """
    return Aggregate("sum", _argument(what))


def mean(what: Expr | str) -> Aggregate:
    """Average numbers; null where there are none.

    >>> aggregated(at=mean("at"))
    {'at': 90.0}
    """
    return Aggregate("mean", _argument(what))


def min(what: Expr | str) -> Aggregate:
    """Keep the smallest value.

    >>> aggregated(least=min("delay"))
    {'least': 5.0}
    """
    return Aggregate("min", _argument(what))


def max(what: Expr | str) -> Aggregate:
    """Keep the largest value.

    >>> aggregated(most=max("delay"))
    {'most': 90.0}
    """
    return Aggregate("max", _argument(what))


def first(what: Expr | str) -> Aggregate:
    """Keep the value (null too) of the earliest record by event time, then partition, then offset.

    >>> aggregated(first=first("carrier"))
    {'first': 'UA'}
    """
    return Aggregate("first", _argument(what))


def last(what: Expr | str) -> Aggregate:
    """Keep the value (null too) of the latest record by event time, then partition, then offset.

    >>> aggregated(last=last("carrier"))
    {'last': 'AA'}
    """
    return Aggregate("last", _argument(what))


def quantile(what: Expr | str, q: float, *, error: float = 0.01) -> Aggregate:
    """Estimate the q-quantile (0 ≤ q ≤ 1) with a relative error of at most `error`.

    Exact for groups of up to 64 values, with linear interpolation between neighbours; then a DDSketch of
    logarithmic buckets (Masson, Rim, Lee: DDSketch, VLDB 2019), which gives the same answer however the input is cut.

    >>> aggregated(median=quantile("delay", 0.5))
    {'median': 30.0}
    """
    if not 0 <= q <= 1:
        raise DeclarationError(f"quantile(q={q!r}): q must be between 0 and 1, such as 0.95.")
    return Aggregate("quantile", _argument(what), options=(("error", _error("quantile", error)), ("q", float(q))))


def approx_distinct(what: Expr | str, *, precision: int = 12) -> Aggregate:
    """Estimate the number of different values with a HyperLogLog of 2^precision registers.

    The standard error is 1.04 / sqrt(2^precision): 1.6 % at the default of 12.

    >>> aggregated(carriers=approx_distinct("carrier"))
    {'carriers': 3}
    """
    if not 4 <= precision <= 18:
        raise DeclarationError(f"approx_distinct(precision={precision!r}): expected 4 to 18.")
    return Aggregate("approx_distinct", _argument(what), options=(("precision", float(precision)),))


def var(what: Expr | str, *, ddof: int = 1) -> Aggregate:
    """Compute the variance of numbers: of a sample, or with `ddof=0` of all there is.

    Within 1e-12 relative of the exact one, however far the mean is from zero and however the input is cut. Null where
    there are no more than `ddof` numbers; NaN where one of them is not finite.

    >>> aggregated(sample=var("at"), all=var("at", ddof=0))
    {'sample': 6000.0, 'all': 4500.0}
    """
    return Aggregate("var", _argument(what), options=_ddof("var", ddof))


def std(what: Expr | str, *, ddof: int = 1) -> Aggregate:
    """Compute the standard deviation: the square root of `var`.

    >>> aggregated(spread=std("at"))
    {'spread': 77.45966692414834}
    """
    return Aggregate("std", _argument(what), options=_ddof("std", ddof))


def arg_min(what: Expr | str, by: Expr | str) -> Aggregate:
    """Keep the value (null too) of `what` in the record with the smallest `by`.

    Of several it is the earliest by event time, then partition, then offset. Records without `by` are left out.

    >>> aggregated(best=arg_min("carrier", by="delay"))
    {'best': 'UA'}
    """
    return Aggregate("arg_min", _argument(what), by=_argument(by))


def arg_max(what: Expr | str, by: Expr | str) -> Aggregate:
    """Keep the value (null too) of `what` in the record with the largest `by`; else as `arg_min`.

    >>> aggregated(worst=arg_max("carrier", by="delay"))
    {'worst': 'DL'}
    """
    return Aggregate("arg_max", _argument(what), by=_argument(by))


def collect(what: Expr | str, limit: int = 100, *, latest: bool = False) -> Aggregate:
    """Keep a list of values, ordered by event time, then partition, then offset: the first `limit`, or the last.

    `limit` is at most 1000, since the list is kept in the row and written whenever the row changes.

    >>> aggregated(opened=collect("carrier", 2), closed=collect("carrier", 2, latest=True))
    {'opened': ['UA', 'DL'], 'closed': ['UA', 'AA']}
    """
    if not isinstance(limit, int) or not 1 <= limit <= MOST_COLLECTED:
        raise DeclarationError(f"collect(limit={limit!r}): expected 1 to {MOST_COLLECTED}.")
    options = (("latest", 1.0), ("limit", float(limit))) if latest else (("limit", float(limit)),)
    return Aggregate("collect", _argument(what), options=options)


def top_k(what: Expr | str, k: int = 10, *, capacity: int = 1000) -> Aggregate:
    """List the k most frequent values, each with `value`, `count` and `error`; of equals the smaller comes first.

    Exact, with an error of 0, in groups of up to `capacity` different values. In larger ones a count may be too low by
    up to `error`, which is at most (records of the group) / (capacity + 1), and is never too high; a value that came
    more often than that is not missed. There, and only there, the counts depend on how the input was cut
    (Misra and Gries, 1982; Agarwal et al.: Mergeable summaries, 2012).

    >>> aggregated(most=top_k("carrier", 2))
    {'most': [{'value': 'UA', 'count': 2, 'error': 0}, {'value': 'AA', 'count': 1, 'error': 0}]}
    """
    if not isinstance(capacity, int) or not 1 <= capacity <= MOST_COUNTED:
        raise DeclarationError(f"top_k(capacity={capacity!r}): expected 1 to {MOST_COUNTED}.")
    if not isinstance(k, int) or not 1 <= k <= capacity:
        raise DeclarationError(f"top_k(k={k!r}): expected 1 to the capacity of {capacity}.")
    return Aggregate("top_k", _argument(what), options=(("capacity", float(capacity)), ("k", float(k))))


def histogram(what: Expr | str, bounds: Sequence[float] | None = None, *, error: float = 0.01) -> Aggregate:
    """Count numbers by size: a list of buckets, each with `low`, `high` and `count`.

    With `bounds` a bucket is `[low, high)`, there is one below the first bound (its `low` is null) and one from the
    last on. Without, buckets are those of `quantile`'s DDSketch, at most 2 · `error` wide relative to their size,
    and the empty ones are left out. Exact counts in both.

    >>> aggregated(sizes=histogram("delay", [60]))
    {'sizes': [{'low': None, 'high': 60.0, 'count': 2}, {'low': 60.0, 'high': None, 'count': 1}]}
    """
    if bounds is None:
        return Aggregate("histogram", _argument(what), options=(("error", _error("histogram", error)),))
    found = tuple(bounds)
    if not 1 <= len(found) <= MOST_BOUNDS or not all(isinstance(b, int | float) and isfinite(b) for b in found):
        raise DeclarationError(f"histogram(bounds={bounds!r}): expected 1 to {MOST_BOUNDS} finite numbers.")
    if any(low >= high for low, high in pairwise(found)):
        raise DeclarationError(f"histogram(bounds={bounds!r}): bounds must ascend.")
    return Aggregate("histogram", _argument(what), bounds=tuple(map(float, found)))


def fold(
    initial: Any,
    step: Callable[[Any, Any], Any],
    merge: Callable[[Any, Any], Any] | None = None,
    *,
    type: Any = None,
) -> Aggregate:
    """Keep an accumulator that a function of yours makes of it and of each record: `step(accumulator, record)`.

    `initial` is the first accumulator, or a function that makes it. Records come in the order of their partition,
    which behind a `group_by` that moves them is any order for those of different input partitions. `merge(earlier,
    later)` puts two accumulators together; only windows that merge need it. The accumulator is kept as msgpack: its
    type is `type`, else what `step` says that it returns, else that of the initial one. A record for which the step
    raises, or returns something of another type, is dead-lettered.

    >>> aggregated(path=fold("", lambda path, departure: f"{path}{departure.carrier} "))
    {'path': 'UA DL UA AA '}
    """
    return Aggregate("fold", fold=checked_fold(initial, step, merge, type))


def _ddof(function: str, ddof: int) -> tuple[tuple[str, float], ...]:
    if ddof not in (0, 1):
        raise DeclarationError(f"{function}(ddof={ddof!r}): expected 1 (of a sample) or 0 (of all there is).")
    return (("ddof", float(ddof)),)


def _error(function: str, error: float) -> float:
    if not 0.0001 <= error <= 0.5:
        raise DeclarationError(f"{function}(error={error!r}): the relative error must be between 0.0001 and 0.5.")
    return float(error)
