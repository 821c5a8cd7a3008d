"""The smallest and the largest value. Nulls and NaN are left out; strings and bytes compare by their bytes."""

from __future__ import annotations

import numpy as np
import polars as pl

from flows.operate.aggregates.cell import Cell, DType


class Extreme(Cell):
    """Field: the value, null of nothing."""

    def __init__(self, slot: str, argument: str, dtype: DType, *, largest: bool) -> None:
        super().__init__(slot)
        self.fields = ((slot, dtype),)
        self._argument, self._largest = argument, largest
        self._is_float = dtype is pl.Float64

    def prepare_values(self, frame: pl.DataFrame) -> list[pl.Series]:
        if not self._is_float:
            return []
        column = frame[self._argument]
        values = column.to_numpy() + 0.0  # -0.0 becomes 0.0: else the order would decide between the two
        return [pl.Series(self.slot, values, nan_to_null=bool(column.null_count() or np.isnan(values).any()))]

    def of_values(self, frame: pl.DataFrame) -> list[pl.Expr]:
        return [self._extreme(pl.col(self.slot if self._is_float else self._argument)).alias(self.slot)]

    def of_states(self, frame: pl.DataFrame) -> list[pl.Expr]:
        return [self._extreme(pl.col(self.slot))]

    def merge(self, stored: pl.DataFrame, gathered: pl.DataFrame) -> list[pl.Series]:
        pair = pl.max_horizontal if self._largest else pl.min_horizontal
        both = pl.DataFrame([stored[self.slot].alias("old"), gathered[self.slot].alias("new")])
        return [both.select(pair("old", "new").alias(self.slot)).to_series()]

    def _extreme(self, value: pl.Expr) -> pl.Expr:
        return value.max() if self._largest else value.min()
