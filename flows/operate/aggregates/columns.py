"""The plain column types in which arguments enter the cells, and the way back to the types that results have.

Times are kept as microseconds (dates as days) since the epoch, so that states hold nothing but msgpack's types.
"""

from __future__ import annotations

import polars as pl

from dsl.plan.types import Kind
from flows.errors import FlowsError
from flows.operate.aggregates.cell import DType

_PLAIN: dict[Kind, DType] = {
    Kind.INT: pl.Int64,
    Kind.FLOAT: pl.Float64,
    Kind.STR: pl.String,
    Kind.BOOL: pl.Boolean,
    Kind.BYTES: pl.Binary,
    Kind.DATETIME: pl.Int64,
    Kind.DATE: pl.Int64,
    Kind.DURATION: pl.Int64,
}

_RESULT: dict[Kind, pl.DataType] = {
    Kind.DATETIME: pl.Datetime("us", "UTC"),
    Kind.DATE: pl.Date(),
    Kind.DURATION: pl.Duration("us"),
}

LARGEST = 1 << 95
"""Integers of a larger magnitude could overflow the 128 bits of a sum."""


def plain_type(kind: Kind) -> DType:
    """Return the type in which a kind of value is kept."""
    return _PLAIN[kind]


def is_plain(column: pl.Series, kind: Kind) -> bool:
    """Tell whether a column has its plain type already."""
    return kind is Kind.OTHER or column.dtype == _PLAIN[kind]


def plain(column: pl.Series, kind: Kind) -> pl.Series:
    """Bring an argument column to its plain type; integers beyond 64 bits stay 128 bits wide."""
    if kind is Kind.INT:
        return narrow(_wide(column))
    if kind is Kind.DATE:
        return column.cast(pl.Date).to_physical().cast(pl.Int64)
    if kind is Kind.DATETIME:
        zone = column.dtype.time_zone if isinstance(column.dtype, pl.Datetime) else None
        return column.cast(pl.Datetime("us", zone)).to_physical()
    if kind is Kind.DURATION:
        return column.cast(pl.Duration("us")).to_physical()
    return column.cast(_PLAIN[kind])


def finished(column: pl.Series, kind: Kind) -> pl.Series:
    """Bring a plain column, or one of lists of plain values, to the type of a result."""
    if kind not in _RESULT:
        return column
    return column.cast(pl.List(_RESULT[kind]) if isinstance(column.dtype, pl.List) else _RESULT[kind])


def _wide(column: pl.Series) -> pl.Series:
    column = column.cast(pl.Int128)
    if column.len() > column.null_count() and max(abs(v) for v in bounds(column)) > LARGEST:
        raise FlowsError(
            f"an aggregate's argument holds an integer beyond ±2^95: {max(bounds(column), key=abs)}",
            fix="make the column a float, or divide it",
        )
    return column


def narrow(column: pl.Series) -> pl.Series:
    """Return a column of 128-bit integers in 64 bits where all of them fit."""
    if column.dtype != pl.Int128:
        return column
    low, high = bounds(column)
    return column.cast(pl.Int64) if low >= -(1 << 63) and high < 1 << 63 else column


def bounds(column: pl.Series) -> tuple[int, int]:
    """Return the smallest and largest integer of a column, zeros where it has none."""
    low, high = column.min(), column.max()
    return (low, high) if isinstance(low, int) and isinstance(high, int) else (0, 0)
