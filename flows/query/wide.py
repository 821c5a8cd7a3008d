"""Integers beyond 64 bits, such as large sums, on their way through SQL: Arrow knows them as decimals only."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa

_WIDE = pl.Decimal(38, 0)


def as_arrow(frame: pl.DataFrame) -> pa.Table:
    """Return a frame as an Arrow table, 128-bit integers as decimals."""
    casts = {name: kind for name, dtype in frame.schema.items() if (kind := _without_int128(dtype)) != dtype}
    return frame.cast(casts).to_arrow()  # type: ignore[arg-type]


def without_decimals(value: Any) -> Any:
    """Return whole decimals as integers again, inside of lists and structs too."""
    if isinstance(value, list):
        return [without_decimals(v) for v in value]
    if isinstance(value, dict):
        return {k: without_decimals(v) for k, v in value.items()}
    return int(value) if isinstance(value, Decimal) and value.as_tuple().exponent == 0 else value


def _without_int128(dtype: Any) -> Any:
    if isinstance(dtype, pl.List):
        return pl.List(_without_int128(dtype.inner))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: _without_int128(field.dtype) for field in dtype.fields})
    return _WIDE if dtype == pl.Int128 else dtype
