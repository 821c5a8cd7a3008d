"""The earliest or the latest record of a group, and the values wanted of it (nulls too).

Records are ordered by event time, partition, offset. Records that one input record became share all three; they
keep the order in which they came.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from flows.operate.aggregates.cell import Cell, DType, Groups
from flows.operate.base import OFFSET, PARTITION, TIME

_ORDER = (TIME, PARTITION, OFFSET)


class Edge(Cell):
    """Fields: time, partition and offset of the record, then its values. One cell serves all `first` of a table."""

    needs_groups = True

    def __init__(self, slot: str, *, last: bool) -> None:
        super().__init__(slot)
        self._last = last
        self._order = tuple(f"{slot}_{name[1:]}" for name in _ORDER)
        self._sources: list[str] = list(_ORDER)
        self.fields = tuple((name, pl.Int64) for name in self._order)

    def keep(self, argument: str, dtype: DType) -> str:
        """Keep one more column of the record; returns the name of its field."""
        name = f"{self.slot}_{argument[1:]}"
        if argument not in self._sources:
            self._sources.append(argument)
            self.fields += ((name, dtype),)
        return name

    def settle_values(self, groups: Groups) -> list[pl.Series]:
        picked = groups.frame.select(self._sources)[self._pick(groups, _ORDER)].cast(dict.fromkeys(_ORDER, pl.Int64))
        return [column.alias(name) for column, (name, _) in zip(picked, self.fields, strict=True)]

    def settle_states(self, groups: Groups) -> list[pl.Series]:
        return self.unload(groups.frame[self._pick(groups, self._order)])

    def _pick(self, groups: Groups, order: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the row of each group that comes first, or last."""
        keys = [groups.frame[name].to_numpy() for name in reversed(order)]
        rows = np.lexsort(keys)
        picked = np.empty(groups.count, np.int64)
        if not self._last:
            rows = rows[::-1]  # of several assignments to one place the last one stays
        picked[groups.of_row[rows]] = rows
        return picked

    def merge(self, stored: pl.DataFrame, gathered: pl.DataFrame) -> list[pl.Series]:
        takes_new = self._goes_before(stored, gathered)
        both = pl.concat([stored.select(n for n, _ in self.fields), gathered.select(n for n, _ in self.fields)])
        rows = np.arange(stored.height) + np.where(takes_new, stored.height, 0)
        return list(both[rows])

    def _goes_before(self, stored: pl.DataFrame, gathered: pl.DataFrame) -> npt.NDArray[np.bool_]:
        """Tell where the gathered record stands further out than the stored one; of equals the later came later."""
        decided = np.full(stored.height, self._last)
        for name in reversed(self._order):
            old, new = stored[name].to_numpy(), gathered[name].to_numpy()
            decided = np.where(old == new, decided, new > old if self._last else new < old)
        return decided
