"""Checks of what a declaration says: names, numbers, choices, fields. Each raises `DeclarationError`."""

from __future__ import annotations

import re
from typing import Any, get_origin

from dsl.errors import DeclarationError, nearest
from dsl.plan.types import DataType, Kind, Schema, value_name

_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")


def check_fields(name: str, schema: Schema | None, key: str | None, timestamp: str | None) -> None:
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


def checked_name(what: str, name: str) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in (".", ".."):
        raise DeclarationError(f"{what} name {name!r}: use 1 to 200 of the characters a-z A-Z 0-9 . _ -")
    return name


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
    if key in (str, int, float, bool, bytes) or key is tuple or get_origin(key) is tuple:
        return type_of_value(key)
    raise DeclarationError(
        f"table {table!r}: key={value_name(key)} cannot be a key: use str, int, float, bool, bytes or a tuple."
    )
