"""Count, sum and squared deviations of a group's numbers: what `var` and `std` come from.

Two groups A and B together have the squared deviations M2 = M2_A + M2_B + d² · n_A · n_B / n, where d is the distance
of their means (Chan, Golub, LeVeque: Updating formulae, 1979). All terms are positive, so the only place to lose digits
is d, where means that are far from zero may lie close together. Sums, means and M2 are therefore pairs of doubles: d is
good to 1e-16 even where the mean is 1e15 times the deviation. So the variance is within 1e-14, relative, of the exact
one, whatever the cuts. It is NaN where a number is infinite or NaN, and where squares leave the doubles' range
(deviations beyond 1e150).

Within a batch deviations are taken from the group's mean, which is found first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from flows.operate.aggregates.arrow import Ints
from flows.operate.aggregates.cell import Cell, Groups
from flows.operate.aggregates.doubles import Floats, Pair, single, two_product, two_sum
from flows.operate.aggregates.sums import parts_of

_NEAR = 2.0**-98
"""Means that differ by less, relative, are one and the same: what is left is what rounding made of it."""


class Moments(Cell):
    """Fields: count, sum and its error, squared deviations and their error."""

    needs_groups = True

    def __init__(self, slot: str, argument: str) -> None:
        super().__init__(slot)
        self._argument = argument
        self.fields = (
            (slot, pl.Int64),
            (slot + "_sum", pl.Float64),
            (slot + "_sum_error", pl.Float64),
            (slot + "_m2", pl.Float64),
            (slot + "_m2_error", pl.Float64),
        )

    def settle_values(self, groups: Groups) -> list[pl.Series]:
        column = groups.frame[self._argument]
        kept = column.is_not_null().to_numpy()
        return self._columns(_moments(_numbers(column.drop_nulls()), groups.of_row[kept], groups.count))

    def settle_states(self, groups: Groups) -> list[pl.Series]:
        rows, lengths = groups.rows
        owners = np.repeat(np.arange(groups.count), lengths)
        return self._columns(_cascade(self._read(groups.frame[rows]), owners, groups.count))

    def merge(self, stored: pl.DataFrame, gathered: pl.DataFrame) -> list[pl.Series]:
        return self._columns(self._read(stored).joined(self._read(gathered)))

    def variance(self, fields: pl.DataFrame, ddof: int) -> pl.Series:
        """Return M2 / (n - ddof); null where there are no more than `ddof` numbers."""
        spread = self._read(fields)
        square = spread.m2 + spread.m2_error
        known = np.isfinite(square) & np.isfinite(spread.total)
        square = np.where(known, square, np.nan) / np.maximum(spread.numbers - ddof, 1)
        return pl.Series(square).set(pl.Series(spread.numbers <= ddof), None)

    def _read(self, frame: pl.DataFrame) -> Spread:
        return Spread(*(frame[name].to_numpy() for name, _ in self.fields))

    def _columns(self, spread: Spread) -> list[pl.Series]:
        return [pl.Series(name, values) for (name, _), values in zip(self.fields, spread, strict=True)]


class Spread(NamedTuple):
    """The moments of many groups, one row each."""

    numbers: Ints
    total: Floats
    total_error: Floats
    m2: Floats
    m2_error: Floats

    def take(self, rows: Ints | npt.NDArray[np.bool_]) -> Spread:
        """Return some of the groups."""
        numbers, *sums = self
        return Spread(numbers[rows], *(column[rows] for column in sums))

    def joined(self, other: Spread) -> Spread:
        """Put groups together row by row."""
        numbers = self.numbers + other.numbers
        mine, others = self._mean(), other._mean()
        apart = others.plus(-mine)
        size = np.maximum(np.abs(mine.high), np.abs(others.high))
        with np.errstate(over="ignore", invalid="ignore"):
            distance = np.where(np.abs(apart.high) <= size * _NEAR, 0.0, apart.high + apart.low)
            weight = self.numbers.astype(np.float64) * other.numbers / np.maximum(numbers, 1)
            between = np.where(weight == 0, 0.0, distance * distance * weight)
        total = Pair(self.total, self.total_error).plus(Pair(other.total, other.total_error))
        m2 = Pair(self.m2, self.m2_error).plus(Pair(other.m2, other.m2_error)).plus(single(between))
        return Spread(numbers, *total, *m2)

    def _mean(self) -> Pair:
        return Pair(self.total, self.total_error).over(np.maximum(self.numbers, 1).astype(np.float64))


def _moments(numbers: Pair, owners: Ints, count: int) -> Spread:
    """Compute the moments of each group's numbers."""
    many = np.bincount(owners, minlength=count)
    divisor = np.maximum(many, 1)
    with np.errstate(over="ignore", invalid="ignore"):
        middle = _sums(numbers.high, owners, count) / divisor
        # Sums of many numbers round; without the second step that would show where they are nearly equal.
        middle = middle + _sums(numbers.high - middle[owners], owners, count) / divisor
        away, lost = two_sum(numbers.high, -middle[owners])
        lost = lost + numbers.low
        rest = _exact_sums(away, owners, count).plus(single(_sums(lost, owners, count)))
        total = Pair(*two_product(middle, many.astype(np.float64))).plus(rest)
        squares = _exact_sums((away + lost) ** 2, owners, count)
        m2 = squares.plus(single(-(rest.high**2) / divisor))
    return Spread(many, *total, np.maximum(m2.high, 0.0), m2.low)


def _sums(values: Floats, owners: Ints, count: int) -> Floats:
    sums: Floats = np.bincount(owners, values, count).astype(np.float64, copy=False)
    return sums


def _exact_sums(values: Floats, owners: Ints, count: int) -> Pair:
    total = single(np.zeros(count))
    for part in parts_of(values):
        total = total.plus(single(_sums(part, owners, count)))
    return total


def _cascade(rows: Spread, owners: Ints, count: int) -> Spread:
    """Put together the rows of each group, neighbours first; owners ascend."""
    while len(owners) and (owners[1:] == owners[:-1]).any():
        starts = np.flatnonzero(np.diff(owners, prepend=-1))
        place = np.arange(len(owners)) - np.repeat(starts, np.diff(starts, append=len(owners)))
        left = np.flatnonzero(place % 2 == 0)
        right = np.minimum(left + 1, len(owners) - 1)
        pairs = (owners[right] == owners[left]) & (right > left)
        merged = rows.take(left[pairs]).joined(rows.take(right[pairs]))
        rows, owners = rows.take(left), owners[left]
        for column, values in zip(rows, merged, strict=True):
            column[pairs] = values
    spread = Spread(np.zeros(count, np.int64), *(np.zeros(count) for _ in range(4)))
    for column, values in zip(spread, rows, strict=True):
        column[owners] = values
    return spread


def _numbers(column: pl.Series) -> Pair:
    """Return numbers as pairs; integers exactly."""
    if column.dtype == pl.Float64:
        return Pair(column.to_numpy() + 0.0, np.zeros(len(column)))
    high = column.cast(pl.Float64)
    low = (column.cast(pl.Int128) - high.cast(pl.Int128)).cast(pl.Float64)
    return Pair(*two_sum(high.to_numpy(), low.to_numpy()))
