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

    needs_order = True

    def __init__(self, slot: str, *, last: bool) -> None:
        super().__init__(slot)
        self._last, self._rank = last, slot + "_rank"
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

    def prepare_values(self, frame: pl.DataFrame) -> list[pl.Series]:
        return [self._ranks(frame, _ORDER)]

    def prepare_states(self, frame: pl.DataFrame) -> list[pl.Series]:
        return [self._ranks(frame, self._order)]

    def of_values(self, frame: pl.DataFrame) -> list[pl.Expr]:
        rank = pl.col(self._rank)
        return [rank.max() if self._last else rank.min()]

    def of_states(self, frame: pl.DataFrame) -> list[pl.Expr]:
        return self.of_values(frame)

    def settle_values(self, groups: Groups) -> list[pl.Series]:
        picked = groups.frame[self._sources][self._picked(groups)]
        columns = [picked[name].cast(pl.Int64) if name in _ORDER else picked[name] for name in self._sources]
        return [column.alias(name) for column, (name, _) in zip(columns, self.fields, strict=True)]

    def settle_states(self, groups: Groups) -> list[pl.Series]:
        return self.unload(groups.frame[[name for name, _ in self.fields]][self._picked(groups)])

    def _ranks(self, frame: pl.DataFrame, order: Sequence[str]) -> pl.Series:
        return pl.Series(self._rank, _inverse(np.lexsort(self._sorting(frame, order)[::-1])))

    def _sorting(self, frame: pl.DataFrame, order: Sequence[str]) -> list[npt.NDArray[np.int64]]:
        """Return what the records are sorted by, the most significant first."""
        return [frame[name].to_numpy() for name in order]

    def _picked(self, groups: Groups) -> npt.NDArray[np.int64]:
        """Return the row of each group that comes first, or last."""
        rows = _inverse(groups.frame[self._rank].to_numpy())
        picked: npt.NDArray[np.int64] = rows[groups.grouped[self._rank].to_numpy()]
        return picked

    def merge(self, stored: pl.DataFrame, gathered: pl.DataFrame) -> list[pl.Series]:
        takes_new = self._goes_before(stored, gathered)
        names = [name for name, _ in self.fields]
        both = pl.concat([stored.select(names), gathered.select(names)], how="vertical_relaxed")
        rows = np.arange(stored.height) + np.where(takes_new, stored.height, 0)
        return list(both[rows])

    def _goes_before(self, stored: pl.DataFrame, gathered: pl.DataFrame) -> npt.NDArray[np.bool_]:
        """Tell where the gathered record stands further out than the stored one; of equals the later came later."""
        decided = np.full(stored.height, self._last)
        for name in reversed(self._order):
            old, new = stored[name].to_numpy(), gathered[name].to_numpy()
            decided = np.where(old == new, decided, new > old if self._last else new < old)
        return decided


def _inverse(order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the place of each number in a permutation."""
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return places
