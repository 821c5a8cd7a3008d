"""How often each value of a group came: exactly where there are few different ones, else within a stated error.

Up to `capacity` different values are counted exactly, so the state depends on the values alone, not on the cuts. Where
a group has more, the count of the (capacity + 1)-th most frequent is taken off all counts, and values with none left
go (Misra and Gries: Finding repeated elements, 1982; Agarwal et al.: Mergeable summaries, 2012). What was taken off,
the error, is at most records / (capacity + 1) whatever the cuts; no count is too high, and none is lower than the
true one by more than the error.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from dsl.plan.types import Kind
from flows.operate.aggregates.arrow import Ints
from flows.operate.aggregates.cell import Cell, DType, Groups
from flows.operate.aggregates.columns import finished
from flows.operate.aggregates.items import GROUP, flatten, gathered, places


class Frequent(Cell):
    """Fields: the values in ascending order, their counts, and the error. Nulls and NaN are left out."""

    needs_groups = True

    def __init__(self, slot: str, argument: str, dtype: DType, capacity: int) -> None:
        super().__init__(slot)
        self._argument, self._capacity = argument, capacity
        self._values, self._counts, self._error = slot + "_values", slot + "_counts", slot + "_error"
        self._names = [self._values, self._counts]
        self._is_float = dtype is pl.Float64
        self.fields = (
            (self._values, pl.List(dtype)),
            (self._counts, pl.List(pl.Int64)),
            (self._error, pl.Int64),
        )

    def settle_values(self, groups: Groups) -> list[pl.Series]:
        column = groups.frame[self._argument]
        if self._is_float:
            column = (column + 0.0).fill_nan(None)  # -0.0 is the same value as 0.0
        items = pl.DataFrame([pl.Series(GROUP, groups.of_row), column.alias(self._values)]).filter(column.is_not_null())
        counted = items.group_by(GROUP, self._values).agg(pl.len().cast(pl.Int64).alias(self._counts))
        return self._kept(counted, np.zeros(groups.count, np.int64))

    def settle_states(self, groups: Groups) -> list[pl.Series]:
        error = np.zeros(groups.count, np.int64)
        np.add.at(error, groups.of_row, groups.frame[self._error].to_numpy())
        return self._kept(flatten(groups.frame, self._names, groups.of_row), error)

    def merge(self, stored: pl.DataFrame, gathered: pl.DataFrame) -> list[pl.Series]:
        both = [flatten(frame, self._names) for frame in (stored, gathered)]
        error = stored[self._error].to_numpy() + gathered[self._error].to_numpy()
        return self._kept(pl.concat(both, how="vertical_relaxed"), error)

    def top(self, fields: pl.DataFrame, k: int, kind: Kind) -> pl.Series:
        """Return the k most frequent values of each row, equally frequent ones in ascending order."""
        items = flatten(fields, self._names).sort(GROUP, -pl.col(self._counts), self._values)
        items = items.filter(pl.Series(places(items)[0] < k))
        error = fields[self._error].to_numpy()[items[GROUP].to_numpy()]
        columns = [
            finished(items[self._values], kind).alias("value"),
            items[self._counts].alias("count"),
            pl.Series("error", error),
        ]
        top = pl.DataFrame([items[GROUP], pl.DataFrame(columns).to_struct("top")])
        return gathered(top, ["top"], fields.height)[0]

    def _kept(self, counted: pl.DataFrame, error: Ints) -> list[pl.Series]:
        items = counted.group_by(GROUP, self._values).agg(pl.col(self._counts).sum())
        items = items.sort(GROUP, -pl.col(self._counts))
        place, length = places(items)
        if (length > self._capacity).any():
            groups, counts = items[GROUP].to_numpy(), items[self._counts].to_numpy()
            surplus = np.zeros(len(error), np.int64)
            surplus[groups[place == self._capacity]] = counts[place == self._capacity]
            items = items.with_columns(pl.Series(self._counts, counts - surplus[groups]))
            items = items.filter(pl.col(self._counts) > 0)
            error = error + surplus
        lists = gathered(items.sort(GROUP, self._values), self._names, len(error))
        return [*lists, pl.Series(self._error, error)]
