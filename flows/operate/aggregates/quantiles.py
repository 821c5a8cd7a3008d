"""Quantiles of a group's numbers, from its distribution. NaN is left out like null."""

from __future__ import annotations

import numpy as np
import polars as pl

from flows.operate.aggregates.arrow import Ints
from flows.operate.aggregates.cell import Cell, Groups
from flows.operate.aggregates.distributions import Distributions, Floats, Pieces
from flows.operate.aggregates.histograms import buckets
from flows.operate.aggregates.log_buckets import LogBuckets
from flows.operate.aggregates.ragged import Ragged


class Distribution(Cell):
    """Fields: values and buckets, as `distributions` writes them. One cell serves all quantiles of an argument."""

    needs_groups = True

    def __init__(self, slot: str, argument: str, error: float) -> None:
        super().__init__(slot)
        self._argument, self._buckets = argument, LogBuckets(error)
        self.fields = ((slot + "_values", pl.Binary), (slot + "_buckets", pl.Binary))
        self._gathered = [f"{slot}_{part}" for part in Distributions._fields]

    def settle_values(self, groups: Groups) -> list[pl.Series]:
        values = groups.frame[self._argument].cast(pl.Float64).fill_null(float("nan")).to_numpy() + 0.0
        kept = ~np.isnan(values)
        return self._columns(Pieces.of_values(values[kept], groups.of_row[kept]).united(groups.count, self._buckets))

    def settle_states(self, groups: Groups) -> list[pl.Series]:
        pieces = self._read(groups.frame).pieces(groups.of_row)
        return self._columns(pieces.united(groups.count, self._buckets))

    def load(self, fields: pl.DataFrame) -> list[pl.Series]:
        return self._columns(self._decode(fields))

    def unload(self, gathered: pl.DataFrame) -> list[pl.Series]:
        return self._encode(self._read(gathered))

    def merge(self, stored: pl.DataFrame, gathered: pl.DataFrame) -> list[pl.Series]:
        rows = np.arange(stored.height)
        pieces = self._decode(stored).pieces(rows).joined(self._read(gathered).pieces(rows))
        return self._encode(pieces.united(stored.height, self._buckets))

    def quantile(self, fields: pl.DataFrame, q: float) -> pl.Series:
        """Return the q-quantile of each row, interpolated between neighbours as numpy does; null where it is empty."""
        rows = self._decode(fields)
        totals = rows.totals
        place = q * np.maximum(totals - 1, 0)
        low = self._value_at(rows, np.floor(place).astype(np.int64), totals)
        high = self._value_at(rows, np.ceil(place).astype(np.int64), totals)
        values = pl.Series(_between(low, high, place - np.floor(place)))
        return values.set(pl.Series(totals == 0), None)

    def histogram(self, fields: pl.DataFrame) -> pl.Series:
        """Return the buckets of each row that are not empty, in ascending order, with the count of each."""
        rows = self._decode(fields)
        numbers = np.concatenate([self._buckets.number(rows.values.values), rows.numbers.values])
        owners = np.concatenate([rows.values.rows, rows.numbers.rows])
        counts = np.concatenate([np.ones(len(rows.values.values), np.int64), rows.counts.values])
        found = pl.DataFrame({"row": owners, "number": numbers, "count": counts})
        found = found.group_by("row", "number").agg(pl.col("count").sum()).sort("row", "number")
        low, high = map(pl.Series, self._buckets.bounds(found["number"].to_numpy()))
        return buckets(found["row"].to_numpy(), low, high, found["count"].to_numpy(), fields.height)

    def _value_at(self, rows: Distributions, rank: Ints, totals: Ints) -> Floats:
        """Return (or estimate) the value at a rank, counted from 0, of each row; 0 where the row is empty."""
        values = np.where(rank == 0, rows.low, rows.high)
        small = rows.values.lengths > 0
        values[small] = rows.values.values[rows.values.starts[small] + rank[small]]
        inner = (rows.numbers.lengths > 0) & (rank > 0) & (rank < totals - 1)
        reached = np.cumsum(rows.counts.values)
        before = np.concatenate([np.zeros(1, np.int64), reached])[rows.numbers.starts[inner]]
        found = np.searchsorted(reached, before + rank[inner], side="right")
        values[inner] = np.clip(self._buckets.estimate(rows.numbers.values[found]), rows.low[inner], rows.high[inner])
        return np.where(totals == 0, 0.0, values)

    def _read(self, gathered: pl.DataFrame) -> Distributions:
        values, numbers, counts, low, high = (gathered[name] for name in self._gathered)
        flat = Ragged.of_series
        return Distributions(flat(values), flat(numbers), flat(counts), low.to_numpy(), high.to_numpy())

    def _columns(self, rows: Distributions) -> list[pl.Series]:
        values, numbers, counts, low, high = self._gathered
        lists = [rows.values.to_series(values), rows.numbers.to_series(numbers), rows.counts.to_series(counts)]
        return [*lists, pl.Series(low, rows.low), pl.Series(high, rows.high)]

    def _decode(self, fields: pl.DataFrame) -> Distributions:
        values, buckets = (fields[name].to_list() for name, _ in self.fields)
        return Distributions.of_blobs(values, buckets)

    def _encode(self, rows: Distributions) -> list[pl.Series]:
        columns = zip(self.fields, rows.to_blobs(), strict=True)
        return [pl.Series(name, blobs, dtype=dtype) for (name, dtype), blobs in columns]


def _between(low: Floats, high: Floats, part: Floats) -> Floats:
    """Interpolate as numpy does, but without overflow where the two are far apart or infinite."""
    with np.errstate(invalid="ignore", over="ignore"):
        step = high - low
        near = np.where(part < 0.5, low + step * part, high - step * (1 - part))
        far = low * (1 - part) + high * part
    middle = np.where(np.isfinite(near), near, far)
    return np.where((part == 0) | (low == high), low, middle)
