"""The number of different values, by HyperLogLog: of all hashes that share their first bits, the most leading zeros.

The registers are a function of the set of values, so the cuts do not matter; the estimate is a function of the
registers (Ertl: New cardinality estimation algorithms for HyperLogLog sketches, 2017, algorithm 6), never of how
they came about. (Libraries that keep a running estimate give answers that depend on the order of unions.)

Encoded: `sparse`, varints: distances of the ascending entries `register << 6 | rank`, for up to a quarter of the
registers; beyond it `dense`, one byte a register. The other one is empty.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import polars as pl

from dsl.plan.types import Kind
from flows.operate.aggregates.arrow import Array, Ints
from flows.operate.aggregates.cell import Cell, Groups
from flows.operate.aggregates.hashing import hash_values
from flows.operate.aggregates.ragged import Ragged
from flows.operate.aggregates.varints import read_varints, write_varints

Matrix = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

_RANK_BITS = 46
"""The hash bits that ranks are counted in: what the largest precision, 18, leaves."""
_SHIFT = 6
_RANK = (1 << _SHIFT) - 1


class Registers(Cell):
    """Fields: sparse entries and dense registers, as described above."""

    needs_groups = True

    def __init__(self, slot: str, argument: str, kind: Kind, precision: int) -> None:
        super().__init__(slot)
        self._argument, self._kind, self._precision = argument, kind, precision
        self.registers = 1 << precision
        self._few = self.registers // 4
        self.fields = ((slot + "_sparse", pl.Binary), (slot + "_dense", pl.Binary))

    def settle_values(self, groups: Groups) -> list[pl.Series]:
        column = groups.frame[self._argument]
        kept = column.is_not_null().to_numpy()
        hashes = hash_values(column.drop_nulls(), self._kind)
        entries = self._entries(hashes)
        return [_highest(entries, groups.of_row[kept], groups.count).to_series(self.slot)]

    def settle_states(self, groups: Groups) -> list[pl.Series]:
        entries = Ragged.of_series(groups.frame[self.slot])
        return [_highest(entries.values, entries.spread(groups.of_row), groups.count).to_series(self.slot)]

    def unload(self, gathered: pl.DataFrame) -> list[pl.Series]:
        entries = Ragged.of_series(gathered[self.slot])
        return self._encode(entries, self._dense_rows(entries), np.empty((0, self.registers), np.uint8))

    def load(self, fields: pl.DataFrame) -> list[pl.Series]:
        sparse, dense, matrix = self.decode(fields)
        rows, registers = np.nonzero(matrix)
        entries = (registers << _SHIFT) | matrix[rows, registers]
        owners = np.concatenate([sparse.rows, np.flatnonzero(dense)[rows]])
        order = np.argsort(owners, kind="stable")
        values = np.concatenate([sparse.values, entries])[order]
        return [Ragged.of_rows(values, owners[order], fields.height).to_series(self.slot)]

    def merge(self, stored: pl.DataFrame, gathered: pl.DataFrame) -> list[pl.Series]:
        old, dense, matrix = self.decode(stored)
        new = Ragged.of_series(gathered[self.slot])
        to_matrix = new.spread(dense)
        self._raise(matrix, new.spread(np.cumsum(dense) - 1)[to_matrix], new.values[to_matrix])
        values = np.concatenate([old.values, new.values[~to_matrix]])
        owners = np.concatenate([old.rows, new.rows[~to_matrix]])
        entries = _highest(values, owners, stored.height)
        return self._encode(entries, self._dense_rows(entries) | dense, matrix, dense)

    def decode(self, fields: pl.DataFrame) -> tuple[Ragged, npt.NDArray[np.bool_], Matrix]:
        """Return the sparse entries, which rows are dense, and the registers of those."""
        sparse, dense = (fields[name].to_list() for name, _ in self.fields)
        steps = read_varints(sparse)
        matrix = np.frombuffer(bytearray().join(dense), np.uint8).reshape(-1, self.registers)
        is_dense = np.fromiter(map(bool, dense), np.bool_, len(dense))
        return Ragged.of_steps(steps.values.view(np.int64), steps.lengths), is_dense, matrix

    def estimate(self, fields: pl.DataFrame) -> Ints:
        """Return the estimated number of different values of each row."""
        sparse, dense, matrix = self.decode(fields)
        histogram = np.zeros((_RANK_BITS + 2, fields.height), np.float64)
        np.add.at(histogram, (sparse.values & _RANK, sparse.rows), 1)
        histogram[0] = self.registers - sparse.lengths
        for row, registers in zip(np.flatnonzero(dense).tolist(), matrix, strict=True):
            histogram[:, row] = np.bincount(registers, minlength=_RANK_BITS + 2)
        numbers: Ints = np.rint(_cardinality(histogram, self.registers)).astype(np.int64)
        return numbers

    def _entries(self, hashes: npt.NDArray[np.uint64]) -> Ints:
        register = (hashes >> np.uint64(64 - self._precision)).astype(np.int64)
        _, bits = np.frexp((hashes & np.uint64((1 << _RANK_BITS) - 1)).astype(np.float64))
        entries: Ints = (register << _SHIFT) | (_RANK_BITS + 1 - bits)
        return entries

    def _dense_rows(self, entries: Ragged) -> npt.NDArray[np.bool_]:
        return entries.lengths > self._few

    def _raise(self, matrix: Matrix, rows: Ints, entries: Array) -> None:
        """Raise registers to the entries' ranks where those are higher; no entry comes twice."""
        registers, ranks = entries >> _SHIFT, (entries & _RANK).astype(np.uint8)
        matrix[rows, registers] = np.maximum(matrix[rows, registers], ranks)

    def _encode(
        self, entries: Ragged, dense: npt.NDArray[np.bool_], matrix: Matrix, had: npt.NDArray[np.bool_] | None = None
    ) -> list[pl.Series]:
        """Write the rows; `matrix` has those that `had` registers already, all other dense rows have entries."""
        registers = np.zeros((int(dense.sum()), self.registers), np.uint8)
        if had is not None:
            registers[had[dense]] = matrix
        moved = entries.spread(dense)
        self._raise(registers, entries.spread(np.cumsum(dense) - 1)[moved], entries.values[moved])
        sparse = Ragged(entries.values[~moved], np.where(dense, 0, entries.lengths))
        blobs: list[bytes] = [b""] * len(dense)
        for row, registers_of_row in zip(np.flatnonzero(dense).tolist(), registers, strict=True):
            blobs[row] = registers_of_row.tobytes()
        columns = write_varints(Ragged(sparse.steps().view(np.uint64), sparse.lengths)), blobs
        return [pl.Series(n, c, dtype=t) for (n, t), c in zip(self.fields, columns, strict=True)]


def _highest(entries: Array, owners: Ints, count: int) -> Ragged:
    """Keep the highest rank of each owner and register; ascending by owner and register."""
    keys = np.sort((owners << 32) | entries)
    kept = np.ones(len(keys), np.bool_)
    kept[:-1] = (keys[1:] >> _SHIFT) != (keys[:-1] >> _SHIFT)
    keys = keys[kept]
    return Ragged.of_rows(keys & 0xFFFFFFFF, keys >> 32, count)


def _cardinality(histogram: Floats, registers: int) -> Floats:
    """Ertl's improved estimator; `histogram[k]` counts each row's registers of rank k."""
    z = registers * _tau(1 - histogram[-1] / registers)
    for rank in range(_RANK_BITS, 0, -1):
        z = 0.5 * (z + histogram[rank])
    z = z + registers * _sigma(histogram[0] / registers)
    estimate: Floats = registers * registers / (2 * math.log(2) * z)
    return estimate


def _sigma(x: Floats) -> Floats:
    """x + Σ x^(2^k) · 2^(k-1); infinite at 1: a row of empty registers, whose estimate is 0."""
    empty = x == 1
    x = np.where(empty, 0.0, x)
    y, z = 1.0, x
    while True:
        x = x * x
        before, z = z, z + x * y
        y += y
        if (before == z).all():
            return np.where(empty, np.inf, z)


def _tau(x: Floats) -> Floats:
    """(1 - x - Σ (1 - x^(2^-k))² · 2^-k) / 3; 0 at both ends."""
    inside = (x > 0) & (x < 1)
    x = np.where(inside, x, 1.0)
    y, z = 1.0, 1 - x
    while True:
        x = np.sqrt(x)
        before, y = z, y * 0.5
        z = z - (1 - x) ** 2 * y
        if (before == z).all():
            return np.where(inside, z / 3, 0.0)
