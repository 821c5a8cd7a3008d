"""How a group's numbers are spread: counts between bounds that were declared. Nulls and NaN are left out. Exact.

Without bounds a histogram is read from the distribution that `quantile` keeps.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from flows.operate.aggregates.arrow import Ints
from flows.operate.aggregates.cell import Cell, Groups
from flows.operate.aggregates.items import GROUP, gathered
from flows.operate.aggregates.ragged import Ragged


class Histogram(Cell):
    """Field: the counts below the first bound, in `[bound, next bound)` for each, and from the last one on."""

    needs_groups = True

    def __init__(self, slot: str, argument: str, bounds: tuple[float, ...]) -> None:
        super().__init__(slot)
        self._argument, self._bounds = argument, bounds
        self.fields = ((slot, pl.List(pl.Int64)),)

    def settle_values(self, groups: Groups) -> list[pl.Series]:
        values = groups.frame[self._argument].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        kept = ~np.isnan(values)
        places = np.searchsorted(np.array(self._bounds), values[kept], side="right")
        width = len(self._bounds) + 1
        counts = np.bincount(groups.of_row[kept] * width + places, minlength=groups.count * width)
        return [self._lists(counts)]

    def settle_states(self, groups: Groups) -> list[pl.Series]:
        counts = np.zeros((groups.count, len(self._bounds) + 1), np.int64)
        np.add.at(counts, groups.of_row, self._counts(groups.frame))
        return [self._lists(counts.ravel())]

    def merge(self, stored: pl.DataFrame, gathered: pl.DataFrame) -> list[pl.Series]:
        return [self._lists((self._counts(stored) + self._counts(gathered)).ravel())]

    def result(self, fields: pl.DataFrame) -> pl.Series:
        """Return the buckets of each row, the empty ones too; null for the outer bounds."""
        counts = self._counts(fields).ravel()
        low = pl.Series([None, *self._bounds] * fields.height, dtype=pl.Float64)
        high = pl.Series([*self._bounds, None] * fields.height, dtype=pl.Float64)
        return buckets(np.repeat(np.arange(fields.height), len(self._bounds) + 1), low, high, counts, fields.height)

    def _counts(self, frame: pl.DataFrame) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        return Ragged.of_series(frame[self.slot]).values.reshape(-1, len(self._bounds) + 1)

    def _lists(self, counts: Ints) -> pl.Series:
        width = len(self._bounds) + 1
        return Ragged(counts, np.full(len(counts) // width, width)).to_series(self.slot)


def buckets(rows: Ints, low: pl.Series, high: pl.Series, counts: Ints, height: int) -> pl.Series:
    """Build the result of a histogram: lists of low, high and count."""
    flat = pl.DataFrame([low.alias("low"), high.alias("high"), pl.Series("count", counts)]).to_struct("buckets")
    return gathered(pl.DataFrame([pl.Series(GROUP, rows), flat]), ["buckets"], height)[0]
