"""Values on their way through a compiled expression, and the polars types of the plan's kinds."""

from __future__ import annotations

import datetime as dt
from typing import Any, NamedTuple

import polars as pl

from dsl.plan.exprs import ExprNode
from dsl.plan.types import DataType, Kind, Schema

DTYPES: dict[Kind, pl.DataType] = {
    Kind.INT: pl.Int64(),
    Kind.FLOAT: pl.Float64(),
    Kind.STR: pl.String(),
    Kind.BOOL: pl.Boolean(),
    Kind.BYTES: pl.Binary(),
    Kind.DATETIME: pl.Datetime("us", "UTC"),
    Kind.DATE: pl.Date(),
    Kind.DURATION: pl.Duration("us"),
    Kind.OTHER: pl.Object(),
}


def polars_dtype(type_: DataType) -> pl.DataType:
    """Return the polars type that holds a column: 64-bit numbers, microseconds, UTC; objects for what is no column."""
    return DTYPES[type_.kind]


def frame_schema(schema: Schema) -> dict[str, pl.DataType]:
    """Return the polars schema of a stream's columns, in their order."""
    return {field.name: polars_dtype(field.type) for field in schema}


class Term(NamedTuple):
    """A compiled expression with its kind. `node` is a literal wherever the value is a constant."""

    expr: pl.Expr
    kind: Kind
    node: ExprNode

    def to(self, kind: Kind) -> pl.Expr:
        """Convert to a kind that this one widens to (number, date to its midnight, null)."""
        if self.kind is Kind.DATE and kind is Kind.DATETIME:
            return self.expr.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        return self.expr if self.kind is kind else self.expr.cast(DTYPES[kind])


class CallTerm(NamedTuple):
    """A function's compiled arguments and the kind of its result."""

    args: list[Term]
    result: Kind


def literal(value: Any, kind: Kind) -> pl.Expr:
    """Make a constant of the dtype of its kind."""
    return pl.lit(plain(value), dtype=None if kind is Kind.OTHER else DTYPES[kind])


def plain(value: Any) -> Any:
    """Return a literal's value with datetimes in UTC."""
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)
    return value
