"""From the declared aggregates to the cells of a table: what to keep, and how each result comes out of it.

One function an aggregate, in `_RECIPES`. Arguments and cells that several aggregates need are kept once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import polars as pl

from dsl.fold import Fold
from dsl.plan.exprs import ExprNode
from dsl.plan.nodes import AggregateCall
from dsl.plan.types import DataType, Kind
from flows.errors import FlowsError
from flows.operate.aggregates.arg_extremes import ArgExtreme
from flows.operate.aggregates.cell import Cell
from flows.operate.aggregates.collected import Collected
from flows.operate.aggregates.columns import finished, plain_type
from flows.operate.aggregates.counts import Count
from flows.operate.aggregates.edges import Edge
from flows.operate.aggregates.extremes import Extreme
from flows.operate.aggregates.folds import Folded, FoldRows
from flows.operate.aggregates.frequent import Frequent
from flows.operate.aggregates.histograms import Histogram
from flows.operate.aggregates.moments import Moments
from flows.operate.aggregates.quantiles import Distribution
from flows.operate.aggregates.registers import Registers
from flows.operate.aggregates.sums import FloatSum, IntSum

Finish = Callable[[pl.DataFrame], pl.Series]
"""Computes a result column from decoded fields."""

C = TypeVar("C", bound=Cell)


class Layout:
    """The cells of a list of aggregates, in the order in which they are first needed."""

    def __init__(
        self, calls: Sequence[AggregateCall], folds: Mapping[str, Fold] | None = None, rows: FoldRows | None = None
    ) -> None:
        self.folds, self.rows = folds or {}, rows
        self.inputs: list[tuple[str, ExprNode]] = []
        self.kinds: dict[str, Kind] = {}
        self.cells: list[Cell] = []
        self._arguments: dict[str, str] = {}
        self._known: dict[tuple[Any, ...], Cell] = {}
        self.finish: list[Finish] = [self._recipe(call)(self, call) for call in calls]

    def _recipe(self, call: AggregateCall) -> Callable[[Layout, AggregateCall], Finish]:
        if call.function not in _RECIPES:
            known = ", ".join(sorted(_RECIPES))
            raise FlowsError(f"aggregate {call.name}={call.function}() is unknown", fix=f"use one of {known}")
        return _RECIPES[call.function]

    def argument(self, call: AggregateCall) -> str:
        """Return the column that holds a call's argument; equal expressions share one."""
        return self._column(call.argument, call.argument_type)

    def by(self, call: AggregateCall) -> str:
        """Return the column that holds what a call compares."""
        return self._column(call.by, call.by_type)

    def _column(self, expr: ExprNode | None, type_: DataType | None) -> str:
        assert expr is not None
        assert type_ is not None
        text = repr(expr)  # unlike ==, repr tells 1 from 1.0
        if text not in self._arguments:
            name = self._arguments[text] = f"$a{len(self.inputs)}"
            self.inputs.append((name, expr))
            self.kinds[name] = type_.kind
        return self._arguments[text]

    def cell(self, make: Callable[..., C], *args: Any, **options: Any) -> C:
        """Return the cell of these arguments, made when first asked for."""
        key = (make, args, tuple(options.items()))
        if key not in self._known:
            self._known[key] = make(f"$s{len(self.cells)}", *args, **options)
            self.cells.append(self._known[key])
        return self._known[key]  # type: ignore[return-value]


def _count(layout: Layout, call: AggregateCall) -> Finish:
    cell = layout.cell(Count, None if call.argument is None else layout.argument(call))
    return lambda fields: fields[cell.slot]


def _sum_cell(layout: Layout, call: AggregateCall) -> Cell:
    argument = layout.argument(call)
    return layout.cell(IntSum if layout.kinds[argument] is Kind.INT else FloatSum, argument)


def _sum(layout: Layout, call: AggregateCall) -> Finish:
    cell = _sum_cell(layout, call)
    return lambda fields: fields[cell.slot]


def _mean(layout: Layout, call: AggregateCall) -> Finish:
    total, count = _sum_cell(layout, call), layout.cell(Count, layout.argument(call))

    def finish(fields: pl.DataFrame) -> pl.Series:
        counts = fields[count.slot].to_numpy()
        means = fields[total.slot].cast(pl.Float64).to_numpy() / np.maximum(counts, 1)
        return _null_where(pl.Series(means), counts == 0)

    return finish


def _extreme(layout: Layout, call: AggregateCall) -> Finish:
    argument = layout.argument(call)
    kind = layout.kinds[argument]
    cell = layout.cell(Extreme, argument, plain_type(kind), largest=call.function == "max")
    return lambda fields: finished(fields[cell.slot], kind)


def _edge(layout: Layout, call: AggregateCall) -> Finish:
    argument = layout.argument(call)
    kind = layout.kinds[argument]
    field = layout.cell(Edge, last=call.function == "last").keep(argument, plain_type(kind))
    return lambda fields: finished(fields[field], kind)


def _quantile(layout: Layout, call: AggregateCall) -> Finish:
    options = dict(call.options)
    cell = layout.cell(Distribution, layout.argument(call), options["error"])
    return lambda fields: cell.quantile(fields, options["q"])


def _approx_distinct(layout: Layout, call: AggregateCall) -> Finish:
    argument = layout.argument(call)
    cell = layout.cell(Registers, argument, layout.kinds[argument], int(dict(call.options)["precision"]))
    return lambda fields: pl.Series(cell.estimate(fields))


def _variance(layout: Layout, call: AggregateCall) -> Finish:
    cell, ddof = layout.cell(Moments, layout.argument(call)), int(dict(call.options)["ddof"])
    is_root = call.function == "std"

    def finish(fields: pl.DataFrame) -> pl.Series:
        variance = cell.variance(fields, ddof)
        return variance.sqrt() if is_root else variance

    return finish


def _arg_extreme(layout: Layout, call: AggregateCall) -> Finish:
    argument, by = layout.argument(call), layout.by(call)
    kind = layout.kinds[argument]
    largest = call.function == "arg_max"
    cell = layout.cell(ArgExtreme, by, plain_type(layout.kinds[by]), largest=largest)
    field = cell.keep(argument, plain_type(kind))
    return lambda fields: _null_where(finished(fields[field], kind), fields[cell.by].is_null().to_numpy())


def _collect(layout: Layout, call: AggregateCall) -> Finish:
    argument, options = layout.argument(call), dict(call.options)
    kind, limit, latest = layout.kinds[argument], int(options["limit"]), bool(options.get("latest"))
    cell = layout.cell(Collected, argument, plain_type(kind), limit, latest=latest)
    return lambda fields: finished(fields[cell.values], kind)


def _top_k(layout: Layout, call: AggregateCall) -> Finish:
    argument, options = layout.argument(call), dict(call.options)
    kind = layout.kinds[argument]
    cell = layout.cell(Frequent, argument, plain_type(kind), int(options["capacity"]))
    return lambda fields: cell.top(fields, int(options["k"]), kind)


def _histogram(layout: Layout, call: AggregateCall) -> Finish:
    argument = layout.argument(call)
    if call.bounds:
        return layout.cell(Histogram, argument, call.bounds).result
    return layout.cell(Distribution, argument, dict(call.options)["error"]).histogram


def _fold(layout: Layout, call: AggregateCall) -> Finish:
    cell = Folded(f"$s{len(layout.cells)}", call.name, layout.folds.get(call.name), layout.rows)
    layout.cells.append(cell)
    return cell.result


def _null_where(column: pl.Series, empty: np.ndarray[Any, np.dtype[np.bool_]]) -> pl.Series:
    return column.set(pl.Series(empty), None) if empty.any() else column


_RECIPES: dict[str, Callable[[Layout, AggregateCall], Finish]] = {
    "count": _count,
    "sum": _sum,
    "mean": _mean,
    "min": _extreme,
    "max": _extreme,
    "first": _edge,
    "last": _edge,
    "quantile": _quantile,
    "approx_distinct": _approx_distinct,
    "var": _variance,
    "std": _variance,
    "arg_min": _arg_extreme,
    "arg_max": _arg_extreme,
    "collect": _collect,
    "top_k": _top_k,
    "histogram": _histogram,
    "fold": _fold,
}
