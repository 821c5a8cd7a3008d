"""Integers beyond 64 bits, such as large sums, on their way through SQL: Arrow knows them as decimals only."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa

from flows.query.base import narrowed


def as_arrow(frame: pl.DataFrame) -> pa.Table:
    """Return a frame as an Arrow table, 128-bit integers as decimals."""
    return narrowed(frame).to_arrow()


def without_decimals(value: Any) -> Any:
    """Return whole decimals as integers again, inside of lists and structs too."""
    if isinstance(value, list):
        return [without_decimals(v) for v in value]
    if isinstance(value, dict):
        return {k: without_decimals(v) for k, v in value.items()}
    return int(value) if isinstance(value, Decimal) and value.as_tuple().exponent == 0 else value
