"""The Python types of the plan's kinds: of keys, of row objects, of what is kept of a row."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from dsl.plan.types import Kind, Schema

PYTHON_TYPES: dict[Kind, Any] = {
    Kind.INT: int,
    Kind.FLOAT: float,
    Kind.STR: str,
    Kind.BOOL: bool,
    Kind.BYTES: bytes,
}

ROW_TYPES = {**PYTHON_TYPES, Kind.DATETIME: dt.datetime, Kind.DATE: dt.date, Kind.DURATION: dt.timedelta}


def key_types(schema: Schema, keys: tuple[str, ...]) -> tuple[Any, ...]:
    """Return the types of key columns."""
    kinds = [t.kind for k in keys if (t := schema.get(k)) is not None]
    return tuple(PYTHON_TYPES.get(kind, object) for kind in kinds)


def row_types(schema: Schema, declared: Mapping[str, Any]) -> list[Any]:
    """Return the types of a row's values, each of which may be null; `declared` are those that kinds do not tell."""
    return [declared.get(f.name, ROW_TYPES.get(f.type.kind, Any)) | None for f in schema]


def row_shape(schema: Schema, declared: Mapping[str, Any], *before: Any) -> Any:
    """Return the type of a row's values as a tuple; `before` are those of other values."""
    return tuple.__class_getitem__((*before, *row_types(schema, declared)))
