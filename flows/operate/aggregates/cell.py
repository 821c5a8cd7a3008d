"""What an aggregate keeps of a group: a cell. A table's state is its time and its cells, side by side.

A cell lives in three forms, each columnar, one row a group: *argument columns* of the records; *gathered columns*
in the frames between batch and commit; *fields*, flat and of plain types, which the codec turns into bytes. Cells
are shared: `sum(x)` and `mean(x)` of one table keep one sum.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from flows.operate.aggregates.arrow import flat_lists
from flows.operate.base import ROW

DType = type[pl.DataType] | pl.List
"""The type of a field: a plain one, or a list of a plain one."""


class Groups:
    """The rows that were grouped (`frame`), and one row a group (`grouped`), with the group number of each row."""

    def __init__(self, frame: pl.DataFrame, grouped: pl.DataFrame) -> None:
        self.frame, self.grouped = frame, grouped

    @property
    def count(self) -> int:
        return self.grouped.height

    @cached_property
    def rows(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The row numbers group by group, in the frame's order, and how many each group has; from `$row`."""
        return flat_lists(self.grouped[ROW])

    @cached_property
    def of_row(self) -> npt.NDArray[np.int64]:
        """The group number of each row of the frame."""
        rows, lengths = self.rows
        numbers = np.empty(self.frame.height, np.int64)
        numbers[rows] = np.repeat(np.arange(self.count), lengths)
        return numbers


class Cell(ABC):
    """One kept thing. `fields` are the names and types of its encoded form; names begin with `slot`."""

    fields: tuple[tuple[str, DType], ...]
    needs_groups = False
    """Whether the settling methods need to know which group each row belongs to."""
    needs_order = False
    """Whether `settle_values` needs the records' partitions and offsets."""

    def __init__(self, slot: str) -> None:
        self.slot = slot

    def prepare_values(self, frame: pl.DataFrame) -> list[pl.Series]:
        """Return columns to add to the records before they are grouped."""
        return []

    def prepare_states(self, frame: pl.DataFrame) -> list[pl.Series]:
        """Return columns to add to gathered rows before they are grouped."""
        return []

    def of_values(self, frame: pl.DataFrame) -> list[pl.Expr]:
        """Return what to compute of each group of records; may look at the frame for bounds."""
        return []

    def of_states(self, frame: pl.DataFrame) -> list[pl.Expr]:
        """Return what to compute of each group of gathered rows."""
        return []

    def settle_values(self, groups: Groups) -> list[pl.Series]:
        """Return the gathered columns of grouped records."""
        return [groups.grouped[name] for name, _ in self.fields]

    def settle_states(self, groups: Groups) -> list[pl.Series]:
        """Return the gathered columns of grouped gathered rows."""
        return self.settle_values(groups)

    def unload(self, gathered: pl.DataFrame) -> list[pl.Series]:
        """Return the fields of gathered rows."""
        return [gathered[name] for name, _ in self.fields]

    def load(self, fields: pl.DataFrame) -> list[pl.Series]:
        """Return the gathered columns of decoded fields."""
        return self.unload(fields)

    @abstractmethod
    def merge(self, stored: pl.DataFrame, gathered: pl.DataFrame) -> list[pl.Series]:
        """Return the fields of stored fields and gathered rows put together, row by row; the stored came first."""
