"""The smallest and the largest value. Nulls and NaN are left out; strings and bytes compare by their bytes."""

from __future__ import annotations

import polars as pl

from flows.operate.aggregates.cell import Cell, DType


class Extreme(Cell):
    """Field: the value, null of nothing."""

    def __init__(self, slot: str, argument: str, dtype: DType, *, largest: bool) -> None:
        super().__init__(slot)
        self.fields = ((slot, dtype),)
        self._argument, self._largest = argument, largest
        self._is_float = dtype is pl.Float64

    def of_values(self, frame: pl.DataFrame) -> list[pl.Expr]:
        value = pl.col(self._argument)
        if self._is_float:
            value = value.fill_nan(None) + 0.0  # -0.0 becomes 0.0: else the order would decide between the two
        return [self._extreme(value).alias(self.slot)]

    def of_states(self, frame: pl.DataFrame) -> list[pl.Expr]:
        return [self._extreme(pl.col(self.slot))]

    def merge(self, stored: pl.DataFrame, gathered: pl.DataFrame) -> list[pl.Series]:
        pair = pl.max_horizontal if self._largest else pl.min_horizontal
        both = pl.DataFrame([stored[self.slot].alias("old"), gathered[self.slot].alias("new")])
        return [both.select(pair("old", "new").alias(self.slot)).to_series()]

    def _extreme(self, value: pl.Expr) -> pl.Expr:
        return value.max() if self._largest else value.min()
