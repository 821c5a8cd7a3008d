"""The record with the smallest or the largest value of an expression, and what is wanted of it (nulls too).

Records in which that value is null or NaN are left out. Of several with the same value it is the earliest by event
time, partition, offset.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from flows.operate.aggregates.cell import DType
from flows.operate.aggregates.edges import Edge


class ArgExtreme(Edge):
    """Fields: what is compared (null of nothing), time, partition and offset of the record, then its values."""

    def __init__(self, slot: str, by: str, dtype: DType, *, largest: bool) -> None:
        super().__init__(slot, last=False)
        self.by = slot + "_by"
        self._compared, self._largest, self._is_float = by, largest, dtype is pl.Float64
        self._sources.append(self.by)
        self.fields += ((self.by, dtype),)

    def prepare_values(self, frame: pl.DataFrame) -> list[pl.Series]:
        compared = frame[self._compared].alias(self.by)
        if self._is_float:
            compared = (compared + 0.0).fill_nan(None)  # -0.0 is as large as 0.0
        return [compared, *super().prepare_values(frame.with_columns(compared))]

    def _sorting(self, frame: pl.DataFrame, order: Sequence[str]) -> list[npt.NDArray[np.int64]]:
        return [self._places(frame[self.by]), *super()._sorting(frame, order)]

    def _goes_before(self, stored: pl.DataFrame, gathered: pl.DataFrame) -> npt.NDArray[np.bool_]:
        both = pl.concat([stored.select(self.by), gathered.select(self.by)], how="vertical_relaxed")
        place = self._places(both.to_series())
        old, new = place[: stored.height], place[stored.height :]
        return np.where(old == new, super()._goes_before(stored, gathered), new < old)

    def _places(self, compared: pl.Series) -> npt.NDArray[np.int64]:
        """Return where each value stands among all, nulls last."""
        ranks = compared.rank("dense", descending=self._largest).cast(pl.Int64)
        return ranks.fill_null(len(compared) + 1).to_numpy()
