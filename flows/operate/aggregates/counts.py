"""The number of records, or of a column's values that are not null. Exact."""

from __future__ import annotations

import polars as pl

from flows.operate.aggregates.cell import Cell


class Count(Cell):
    """Field: the count."""

    def __init__(self, slot: str, argument: str | None) -> None:
        super().__init__(slot)
        self.fields = ((slot, pl.Int64),)
        self._counted = pl.len() if argument is None else pl.col(argument).count()

    def of_values(self, frame: pl.DataFrame) -> list[pl.Expr]:
        return [self._counted.cast(pl.Int64).alias(self.slot)]

    def of_states(self, frame: pl.DataFrame) -> list[pl.Expr]:
        return [pl.col(self.slot).sum()]

    def merge(self, stored: pl.DataFrame, gathered: pl.DataFrame) -> list[pl.Series]:
        return [stored[self.slot] + gathered[self.slot]]
