"""Columns of values as polars series: of the declared type where there is one, else of what the values are.

Values that no column type holds together (dicts of different shapes, mixed types) become JSON text.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import reduce
from typing import Any

import msgspec
import polars as pl

from dsl.plan.types import Kind

_TYPES: dict[Kind, pl.DataType] = {
    Kind.INT: pl.Int64(),
    Kind.FLOAT: pl.Float64(),
    Kind.STR: pl.String(),
    Kind.BOOL: pl.Boolean(),
    Kind.BYTES: pl.Binary(),
    Kind.DATE: pl.Date(),
    Kind.DURATION: pl.Duration("us"),
}
_KEPT = (bytes, bytearray, dt.datetime, dt.date, dt.time, dt.timedelta)
_json = msgspec.json.Encoder(enc_hook=str, decimal_format="number").encode


class _Mixed(Exception):
    """Values that lie in no column together."""


def column(name: str, values: Sequence[Any], kind: Kind) -> pl.Series:
    """Build a column of a declared kind; a value that does not fit the kind turns the column into JSON text."""
    dtype = _TYPES.get(kind)
    if dtype is None:
        return _inferred(name, values)
    try:
        return pl.Series(name, values, dtype=dtype)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        return _as_json(name, values)


def _inferred(name: str, values: Sequence[Any]) -> pl.Series:
    """Let polars find the type of values that have one together: times, lists, dicts with the same keys."""
    plain = [msgspec.to_builtins(v, builtin_types=_KEPT, str_keys=True, enc_hook=str) for v in values]
    try:
        reduce(_together, map(_shape, plain), None)
        series = pl.Series(name, plain, strict=False)
    except (_Mixed, TypeError, OverflowError, pl.exceptions.PolarsError):
        return _as_json(name, plain)
    return series.cast(pl.String()) if series.dtype == pl.Null else series


def _shape(value: Any) -> Any:
    """Return the type of a value, of dicts and lists with those inside; None for what fits everywhere."""
    if isinstance(value, dict):
        if not value:
            raise _Mixed
        return {k: _shape(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [reduce(_together, map(_shape, value), None)]
    return None if value is None else type(value)


def _together(one: Any, other: Any) -> Any:
    """Return the shape that holds values of both shapes; raises `_Mixed` when there is none."""
    if one is None or other is None or one == other:
        return other if one is None else one
    if isinstance(one, type) and isinstance(other, type) and {one, other} == {int, float}:
        return float
    if isinstance(one, list) and isinstance(other, list):
        return [_together(one[0], other[0])]
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return {k: _together(one[k], other[k]) for k in one}
    raise _Mixed


def _as_json(name: str, values: Sequence[Any]) -> pl.Series:
    texts = [None if v is None else _json(v).decode() for v in values]
    return pl.Series(name, texts, dtype=pl.String())
