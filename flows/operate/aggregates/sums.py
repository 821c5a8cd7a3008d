"""Sums that do not depend on how the input is cut.

Integers are added in 64 bits where that cannot overflow and in 128 bits elsewhere. Floats are kept as a pair
(sum, error): the sum as a float, and what rounding took from it. Within a batch every value is split at one power of
two (Rump, Ogita, Oishi: Accurate floating-point summation, 2008): the upper parts add up without rounding, in any
order; the lower parts are split in the same way, until nothing is left. So a group's sum does not depend on how large
the numbers of other groups are. Between batches the error comes from Knuth's two-sum. Infinities and NaN follow
IEEE 754; so does a sum that overflows on its way.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from flows.operate.aggregates.cell import Cell, Groups
from flows.operate.aggregates.columns import bounds, narrow
from flows.operate.aggregates.doubles import Floats, two_sum


class IntSum(Cell):
    """Field: the sum, 0 of nothing."""

    def __init__(self, slot: str, argument: str) -> None:
        super().__init__(slot)
        self.fields = ((slot, pl.Int64),)
        self._argument = argument

    def of_values(self, frame: pl.DataFrame) -> list[pl.Expr]:
        return [_total(frame[self._argument]).alias(self.slot)]

    def of_states(self, frame: pl.DataFrame) -> list[pl.Expr]:
        return [_total(frame[self.slot])]

    def settle_values(self, groups: Groups) -> list[pl.Series]:
        return [narrow(groups.grouped[self.slot])]

    def merge(self, stored: pl.DataFrame, gathered: pl.DataFrame) -> list[pl.Series]:
        old, new = stored[self.slot], gathered[self.slot]
        if _may_overflow(old, 2) or _may_overflow(new, 2):
            return [narrow(old.cast(pl.Int128) + new.cast(pl.Int128))]
        return [old + new]


def _total(column: pl.Series) -> pl.Expr:
    """Return the expression that adds up a group of this column in enough bits."""
    wide = _may_overflow(column, len(column))
    return (pl.col(column.name).cast(pl.Int128) if wide else pl.col(column.name)).sum()


def _may_overflow(column: pl.Series, count: int) -> bool:
    return column.dtype == pl.Int128 or max(map(abs, bounds(column))) * count >= 1 << 63


class FloatSum(Cell):
    """Fields: the sum, 0.0 of nothing, and its error."""

    def __init__(self, slot: str, argument: str) -> None:
        super().__init__(slot)
        self._argument, self._error, self._part = argument, slot + "_error", slot + "_part"
        self.fields = ((slot, pl.Float64), (self._error, pl.Float64))

    def prepare_values(self, frame: pl.DataFrame) -> list[pl.Series]:
        return self._parts(_numbers(frame[self._argument]))

    def prepare_states(self, frame: pl.DataFrame) -> list[pl.Series]:
        return self._parts(frame[self.slot].to_numpy(), frame[self._error].to_numpy())

    def of_values(self, frame: pl.DataFrame) -> list[pl.Expr]:
        return [pl.col(name).sum() for name in self._names(frame)]

    def of_states(self, frame: pl.DataFrame) -> list[pl.Expr]:
        return self.of_values(frame)

    def settle_values(self, groups: Groups) -> list[pl.Series]:
        total, error = np.zeros(groups.count), np.zeros(groups.count)
        for name in self._names(groups.grouped):
            total, lost = two_sum(total, groups.grouped[name].to_numpy())
            error = error + lost
        return self._pair(*two_sum(total, np.where(np.isfinite(total), error, 0.0)))

    def merge(self, stored: pl.DataFrame, gathered: pl.DataFrame) -> list[pl.Series]:
        total, lost = two_sum(stored[self.slot].to_numpy(), gathered[self.slot].to_numpy())
        lost = lost + (stored[self._error].to_numpy() + gathered[self._error].to_numpy())
        return self._pair(*two_sum(total, lost))

    def _parts(self, *columns: Floats) -> list[pl.Series]:
        parts = [part for values in columns for part in parts_of(values)]
        return [pl.Series(f"{self._part}{place}", part) for place, part in enumerate(parts)]

    def _names(self, frame: pl.DataFrame) -> list[str]:
        return [name for name in frame.columns if name.startswith(self._part)]

    def _pair(self, total: Floats, error: Floats) -> list[pl.Series]:
        return [pl.Series(self.slot, total), pl.Series(self._error, error)]


def parts_of(values: Floats) -> list[Floats]:
    """Split values into parts, the upper ones first, so that each part adds up without rounding in any order."""
    parts = []
    while splitter := _splitter(values):
        with np.errstate(invalid="ignore"):
            upper = (values + splitter) - splitter
            parts.append(upper)
            values = values - upper
        if not np.any(values):
            return parts
        values = np.where(np.isfinite(values), values, 0.0)  # the rest of an infinity is no number
    return [*parts, values]


def _numbers(column: pl.Series) -> Floats:
    """Return the values, 0 for null."""
    if not column.null_count():
        return column.to_numpy()
    return np.where(column.is_null().to_numpy(), 0.0, column.to_numpy())


def _splitter(values: Floats) -> float:
    """Return the power of two at which to split: 2n times the largest finite magnitude; 0 where it would overflow."""
    sizes = np.abs(values)
    largest = float(sizes.max(initial=0.0))
    if not math.isfinite(largest):
        largest = float(sizes[np.isfinite(sizes)].max(initial=0.0))
    _, exponent = math.frexp(largest)
    exponent += (len(values) + 2).bit_length()
    return math.ldexp(1.0, exponent) if largest and exponent < 1023 else 0.0
