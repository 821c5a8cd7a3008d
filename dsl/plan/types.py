"""Types of columns: what a Record field or an expression holds, as the plan knows it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from enum import StrEnum
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec

from dsl.errors import DeclarationError


class Kind(StrEnum):
    """The kinds of values that columns hold; `OTHER` can be carried along but not computed with."""

    INT = "int"
    FLOAT = "float"
    STR = "str"
    BOOL = "bool"
    BYTES = "bytes"
    DATETIME = "datetime"
    DATE = "date"
    DURATION = "duration"
    OTHER = "other"

    @property
    def is_number(self) -> bool:
        return self in (Kind.INT, Kind.FLOAT)

    @property
    def is_ordered(self) -> bool:
        return self is not Kind.OTHER


class DataType(msgspec.Struct, frozen=True):
    """A kind, and whether null is among its values; printed as `float?`."""

    kind: Kind
    nullable: bool = False

    def __str__(self) -> str:
        return self.kind.value + ("?" if self.nullable else "")

    @property
    def told(self) -> str:
        """The type in an error: an object where it is no type that can be computed with."""
        return "an object" if self.kind is Kind.OTHER else str(self)

    def as_nullable(self, nullable: bool = True) -> DataType:
        return DataType(self.kind, nullable)


class Field(msgspec.Struct, frozen=True):
    """A named column."""

    name: str
    type: DataType

    def __str__(self) -> str:
        return f"{self.name}: {self.type}"


class Schema(msgspec.Struct, frozen=True):
    """The columns of a stream, in order. `owner` is the name that errors show (a Record, a step)."""

    fields: tuple[Field, ...]
    owner: str = ""

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __contains__(self, name: str) -> bool:
        return any(f.name == name for f in self.fields)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.fields)

    def get(self, name: str) -> DataType | None:
        return next((f.type for f in self.fields if f.name == name), None)

    def with_fields(self, added: tuple[Field, ...], owner: str = "") -> Schema:
        """Return a schema in which `added` replace fields of the same name or come last."""
        new = {f.name: f for f in self.fields} | {f.name: f for f in added}
        return Schema(tuple(new.values()), owner or self.owner)

    def __str__(self) -> str:
        return ", ".join(map(str, self.fields))


_KINDS: dict[type, Kind] = {
    msgspec.inspect.IntType: Kind.INT,
    msgspec.inspect.FloatType: Kind.FLOAT,
    msgspec.inspect.StrType: Kind.STR,
    msgspec.inspect.BoolType: Kind.BOOL,
    msgspec.inspect.BytesType: Kind.BYTES,
    msgspec.inspect.DateTimeType: Kind.DATETIME,
    msgspec.inspect.DateType: Kind.DATE,
    msgspec.inspect.TimeDeltaType: Kind.DURATION,
}


def schema_of(struct: type[msgspec.Struct]) -> Schema:
    """Read the columns of a Record class. Raises `DeclarationError` where its annotations cannot be understood."""
    try:
        info = msgspec.inspect.type_info(struct)
    except (NameError, TypeError) as problem:
        raise DeclarationError(f"the fields of {struct.__name__} cannot be read: {problem}.") from problem
    assert isinstance(info, msgspec.inspect.StructType)
    return Schema(tuple(Field(f.name, _data_type(f.type)) for f in info.fields), struct.__name__)


def _data_type(info: msgspec.inspect.Type) -> DataType:
    if isinstance(info, msgspec.inspect.Metadata):
        return _data_type(info.type)
    if isinstance(info, msgspec.inspect.UnionType):
        rest = [t for t in info.types if not isinstance(t, msgspec.inspect.NoneType)]
        kinds = {_data_type(t).kind for t in rest}
        kind = kinds.pop() if len(kinds) == 1 else Kind.FLOAT if kinds == {Kind.INT, Kind.FLOAT} else Kind.OTHER
        return DataType(kind, nullable=len(rest) < len(info.types))
    return DataType(_KINDS.get(type(info), Kind.OTHER))


def kind_of_value(value: Any) -> DataType:
    """Return the type of a literal."""
    if value is None:
        return DataType(Kind.OTHER, nullable=True)
    order: list[tuple[type, Kind]] = [
        (bool, Kind.BOOL),
        (int, Kind.INT),
        (float, Kind.FLOAT),
        (str, Kind.STR),
        (bytes, Kind.BYTES),
        (dt.datetime, Kind.DATETIME),
        (dt.date, Kind.DATE),
        (dt.timedelta, Kind.DURATION),
    ]
    return DataType(next((kind for cls, kind in order if isinstance(value, cls)), Kind.OTHER))


def value_name(value: Any) -> str:
    """Name a type as the plan prints it, without its module: that may be called `__main__` or not.

    >>> value_name(dict[str, list[int]]), value_name(int | None)
    ('dict[str, list[int]]', 'int | None')
    """
    if value is None or value is type(None):
        return "None"
    if value is ...:
        return "..."
    parts = [value_name(part) for part in get_args(value)]
    if isinstance(value, UnionType) or get_origin(value) is Union:
        return " | ".join(parts)
    name = str(getattr(get_origin(value) or value, "__name__", value))
    return f"{name}[{', '.join(parts)}]" if parts else name
