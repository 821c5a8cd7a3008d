"""Checks of what a declaration says: names, numbers, choices, fields. Each raises `DeclarationError`."""

from __future__ import annotations

import re
from typing import Any, get_origin

import msgspec

from dsl.errors import DeclarationError, nearest
from dsl.plan.functions import unknown_column
from dsl.plan.types import DataType, Kind, Schema, schema_of, value_name

_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")


def check_fields(name: str, schema: Schema | None, key: str | None, timestamp: str | None) -> None:
    """Check that a topic's key and timestamp are fields of its Record, of types that serve."""
    for role, field in (("key", key), ("timestamp", timestamp)):
        if field is None:
            continue
        if schema is None:
            raise DeclarationError(f"topic {name!r}: {role}={field!r} names a field, so value= must be a Record.")
        found = schema.get(field)
        if found is None:
            raise DeclarationError(
                f"topic {name!r}: {role}={field!r} is no field of {schema.owner}; "
                f"its fields are {', '.join(schema.names)}.",
                suggestion=nearest(field, schema.names),
            )
        if role == "timestamp" and not (found.kind.is_number or found.kind is Kind.DATETIME):
            raise DeclarationError(f"topic {name!r}: timestamp={field!r} is {found}; expected a number or datetime.")
        if role == "key" and found.kind not in (Kind.STR, Kind.INT, Kind.BYTES, Kind.BOOL):
            raise DeclarationError(f"topic {name!r}: key={field!r} is {found}; expected str, int, bool or bytes.")


def check_sink(what: str, columns: Schema | None, struct: Any, key: str | None) -> None:
    """Check that rows of these columns can be read as the values of a topic; both are unknown without a Record."""
    if columns is None or not (isinstance(struct, type) and issubclass(struct, msgspec.Struct)):
        return
    wanted = schema_of(struct)
    required = {f.name for f in msgspec.structs.fields(struct) if f.required} | {key}
    for field in wanted:
        found = columns.get(field.name)
        if found is None and field.name in required:
            raise DeclarationError(
                f"{what}: {wanted.owner} needs field {field.name!r}, but the columns are {', '.join(columns.names)}.",
                suggestion=nearest(field.name, columns.names),
            )
        if found is not None and not _fits(found, field.type):
            raise DeclarationError(f"{what}: {wanted.owner}.{field.name} is {field.type}, but the column is {found}.")


def _fits(found: DataType, wanted: DataType) -> bool:
    is_alike = found.kind is wanted.kind or Kind.OTHER in (found.kind, wanted.kind)
    return is_alike or (found.kind, wanted.kind) == (Kind.INT, Kind.FLOAT)


def check_partitioner(name: str, partitioner: Any, partitioned_by: str | None) -> None:
    """Check that a topic's partitioner is a function, and that nobody else is said to choose its partitions."""
    if partitioner is None:
        return
    if not callable(partitioner):
        raise DeclarationError(
            f"topic {name!r}: partitioner is a function of a key's bytes and the number of partitions, "
            f"not {partitioner!r}."
        )
    if partitioned_by is not None:
        raise DeclarationError(
            f"topic {name!r}: either a partitioner chooses the partitions, or partitioned_by={partitioned_by!r} "
            "says who does: leave one out."
        )


def function_name(function: Any) -> str:
    """Name a function as the plan shows it."""
    return str(getattr(function, "__qualname__", None) or repr(function))


def checked_name(what: str, name: str) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in (".", ".."):
        raise DeclarationError(f"{what} name {name!r}: use 1 to 200 of the characters a-z A-Z 0-9 . _ -")
    return name


def checked_keys(what: str, schema: Schema, keys: tuple[str, ...]) -> tuple[DataType, ...]:
    """Return the types of columns that are to be keys."""
    types = []
    for key in keys:
        found = schema.get(key) if isinstance(key, str) else None
        if found is None:
            raise unknown_column(str(key), schema)
        if found.kind in (Kind.OTHER, Kind.DURATION):
            raise DeclarationError(f"{what}({key!r}): the column's values cannot be keys.")
        types.append(found)
    if len(set(keys)) < len(keys):
        raise DeclarationError(f"{what}{keys!r} names a column twice.")
    return tuple(types)


def checked_partitions(what: str, partitions: int) -> int:
    if not isinstance(partitions, int) or partitions < 1:
        raise DeclarationError(f"{what}: partitions must be a positive integer, not {partitions!r}.")
    return partitions


def check_one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise DeclarationError(
            f"{what}={value!r}: expected one of {', '.join(known)}.", suggestion=nearest(value, known)
        )


def type_of_value(value: Any) -> DataType:
    kinds = {int: Kind.INT, float: Kind.FLOAT, str: Kind.STR, bool: Kind.BOOL, bytes: Kind.BYTES}
    return DataType(kinds.get(value, Kind.OTHER))


def key_type(table: str, key: Any) -> DataType:
    return _ordered_type(f"table {table!r}: key={value_name(key)} cannot be a key", key)


def element_type(table: str, value: Any) -> DataType:
    return _ordered_type(f"table {table!r}: value={value_name(value)} cannot be an element of a set", value)


def _ordered_type(what: str, declared: Any) -> DataType:
    if declared in (str, int, float, bool, bytes) or declared is tuple or get_origin(declared) is tuple:
        return type_of_value(declared)
    raise DeclarationError(f"{what}: use str, int, float, bool, bytes or a tuple.")
