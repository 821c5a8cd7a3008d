"""The values of a group's earliest or latest records, in order, up to a limit. Nulls are left out.

Records are ordered by event time, partition, offset; those of one input record keep the order in which they came.
The kept ones are the first (or last) of all in that order, so they do not depend on the cuts.
"""

from __future__ import annotations

import polars as pl

from flows.operate.aggregates.cell import Cell, DType, Groups
from flows.operate.aggregates.items import GROUP, flatten, gathered, places
from flows.operate.base import OFFSET, PARTITION, TIME

_ORDER = (TIME, PARTITION, OFFSET)


class Collected(Cell):
    """Fields: lists of the records' times, partitions, offsets and values, as long as each other."""

    needs_groups = needs_order = True

    def __init__(self, slot: str, argument: str, dtype: DType, limit: int, *, latest: bool) -> None:
        super().__init__(slot)
        self._argument, self._limit, self._latest = argument, limit, latest
        self.values = slot + "_values"
        self._order = [f"{slot}_{name[1:]}" for name in _ORDER]
        self._names = [*self._order, self.values]
        self.fields = (*((name, pl.List(pl.Int64)) for name in self._order), (self.values, pl.List(dtype)))

    def settle_values(self, groups: Groups) -> list[pl.Series]:
        order = [pl.col(column).cast(pl.Int64).alias(name) for column, name in zip(_ORDER, self._order, strict=True)]
        items = groups.frame.select(*order, pl.col(self._argument).alias(self.values))
        items = items.with_columns(pl.Series(GROUP, groups.of_row)).filter(pl.col(self.values).is_not_null())
        return self._kept(items, groups.count)

    def settle_states(self, groups: Groups) -> list[pl.Series]:
        return self._kept(flatten(groups.frame, self._names, groups.of_row), groups.count)

    def merge(self, stored: pl.DataFrame, gathered: pl.DataFrame) -> list[pl.Series]:
        both = [flatten(frame, self._names) for frame in (stored, gathered)]
        return self._kept(pl.concat(both, how="vertical_relaxed"), stored.height)

    def _kept(self, items: pl.DataFrame, count: int) -> list[pl.Series]:
        items = items.sort(GROUP, *self._order, maintain_order=True)
        place, length = places(items)
        kept = place >= length - self._limit if self._latest else place < self._limit
        return gathered(items.filter(pl.Series(kept)), self._names, count)
