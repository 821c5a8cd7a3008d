"""Rows of different lengths in one flat array: how the sketches of many groups are computed at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from flows.operate.aggregates.arrow import Array, Ints, flat_lists, lists_of


class Ragged(NamedTuple):
    """The flat values and the length of each row."""

    values: Array
    lengths: Ints

    @property
    def ends(self) -> Ints:
        return np.cumsum(self.lengths)

    @property
    def starts(self) -> Ints:
        return self.ends - self.lengths

    def spread(self, per_row: Array) -> Array:
        """Return a row's number for each of its values."""
        return np.repeat(per_row, self.lengths)

    @property
    def rows(self) -> Ints:
        """Return the row number of each value."""
        return self.spread(np.arange(len(self.lengths)))

    @classmethod
    def of_rows(cls, values: Array, rows: Ints, count: int) -> Ragged:
        """Take values whose row numbers ascend."""
        return cls(values, np.bincount(rows, minlength=count))

    @classmethod
    def of_series(cls, lists: pl.Series) -> Ragged:
        """Read a column of lists without nulls."""
        return cls(*flat_lists(lists))

    def to_series(self, name: str) -> pl.Series:
        """Return a column of lists."""
        return lists_of(name, self.values, self.lengths)

    @classmethod
    def of_blobs(cls, blobs: Sequence[bytes], dtype: str) -> Ragged:
        """Read rows that were written by `to_blobs`."""
        values = np.frombuffer(b"".join(blobs), dtype)
        return cls(values, np.fromiter(map(len, blobs), np.int64, len(blobs)) // values.itemsize)

    def to_blobs(self) -> list[bytes]:
        """Return each row's values as little-endian bytes."""
        data, size = self.values.tobytes(), self.values.itemsize
        ends = (self.ends * size).tolist()
        return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def sums(self) -> Array:
        """Add up each row of integers."""
        totals = np.zeros(len(self.values) + 1, np.int64)
        np.cumsum(self.values, out=totals[1:])
        ends = self.ends
        sums: Array = totals[ends] - totals[ends - self.lengths]
        return sums

    def steps(self) -> Array:
        """Return each value's distance from the one before it in its row; the first of a row stays."""
        steps = np.diff(self.values, prepend=self.values[:1] * 0)
        starts = self.starts[self.lengths > 0]
        steps[starts] = self.values[starts]
        return steps

    @classmethod
    def of_steps(cls, steps: Array, lengths: Ints) -> Ragged:
        """Add up what `steps` took apart."""
        totals = np.cumsum(steps)
        before = np.concatenate([np.zeros(1, totals.dtype), totals])[np.cumsum(lengths) - lengths]
        return cls(totals - np.repeat(before, lengths), lengths)


def zigzag(numbers: Ints) -> npt.NDArray[np.uint64]:
    """Map integers to unsigned ones, small magnitudes to small ones: 0, -1, 1, -2, …"""
    return ((numbers << 1) ^ (numbers >> 63)).view(np.uint64)


def unzigzag(numbers: npt.NDArray[np.uint64]) -> Ints:
    """Undo `zigzag`."""
    return (numbers >> np.uint64(1)).view(np.int64) ^ -(numbers & np.uint64(1)).view(np.int64)
