"""The Avro schema of a Record: https://avro.apache.org/docs/1.12.0/specification/.

| Python | Avro |
|---|---|
| `bool int float str bytes` | `boolean long double string bytes` |
| `datetime`, `date`, `time`, `UUID` | the logical types `timestamp-micros` (`local-timestamp-micros` for
  `Meta(tz=False)`), `date`, `time-micros`, `uuid` |
| `timedelta`, `Decimal` | `string`, as in JSON: Avro's `duration` knows no microseconds, its `decimal` needs a scale |
| an Enum of names, of other texts, of numbers | `enum`, `string`, `long`; a `Literal` likewise `string` or `long` |
| `list`, `set`, `frozenset`, `tuple[X, ...]` | `array` |
| `dict[str, X]` | `map` |
| a Record | `record` |
| `X | None` | a union with `null`, which comes first unless another default is declared |

A default is kept: `None`, a number, text, truth value, and an empty list, set or dict.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import inspect

from dsl.errors import DeclarationError
from dsl.plan.types import value_name

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN: dict[type, Any] = {
    inspect.NoneType: "null",
    inspect.BoolType: "boolean",
    inspect.IntType: "long",
    inspect.FloatType: "double",
    inspect.StrType: "string",
    inspect.BytesType: "bytes",
    inspect.DateType: {"type": "int", "logicalType": "date"},
    inspect.TimeType: {"type": "long", "logicalType": "time-micros"},
    inspect.UUIDType: {"type": "string", "logicalType": "uuid"},
    inspect.TimeDeltaType: "string",
    inspect.DecimalType: "string",
}
_KEPT = (bool, int, float, str)


def avro_schema(topic: str, value: Any, name: str | None = None) -> Any:
    """Derive the schema of a topic's Record. Raises `DeclarationError` for what has no form in Avro."""
    if not (isinstance(value, type) and issubclass(value, msgspec.Struct)):
        raise DeclarationError(
            f"topic {topic!r}: the Avro schema of {value_name(value)} is not known: value= a Record, or "
            "codec=flows.Avro(schema)."
        )
    try:
        return _Deriving(topic, value, name).schema()
    except (NameError, TypeError) as problem:
        raise DeclarationError(f"the fields of {value.__name__} cannot be read: {problem}.") from problem


def named(value: Any) -> str:
    """Name a value's type."""
    return value_name(type(value))


class _Deriving:
    """Derive one schema; a record that comes again is its name."""

    def __init__(self, topic: str, value: type[msgspec.Struct], name: str | None) -> None:
        self._topic, self._value, self._name = topic, value, name or value.__name__
        self._seen: dict[type, str] = {}

    def schema(self) -> Any:
        for part in self._name.split("."):
            self._check_name(part, "the record's name")
        return self._record(inspect.type_info(self._value), self._name)

    def _record(self, info: Any, name: str) -> Any:
        if info.cls in self._seen:
            return self._seen[info.cls]
        if name in self._seen.values():
            raise DeclarationError(
                f"topic {self._topic!r}: two Records are called {name!r}, which Avro cannot tell apart."
            )
        self._seen[info.cls] = name
        if info.tag is not None or info.array_like:
            raise self._none(name, "a tagged or array-like class")
        return {"type": "record", "name": name, "fields": [self._field(name, f) for f in info.fields]}

    def _field(self, record: str, field: Any) -> dict[str, Any]:
        place = f"{record}.{field.name}"
        self._check_name(field.encode_name, place)
        default = _default(field)
        type_ = self._type(field.type, place, default)
        found = {"name": field.encode_name, "type": type_}
        return found if default is msgspec.NODEFAULT else {**found, "default": default}

    def _type(self, info: Any, place: str, default: Any = None) -> Any:
        match info:
            case inspect.Metadata():
                return self._type(info.type, place, default)
            case inspect.UnionType():
                return self._union(info, place, default)
            case inspect.DateTimeType():
                kind = "local-timestamp-micros" if info.tz is False else "timestamp-micros"
                return {"type": "long", "logicalType": kind}
            case inspect.EnumType():
                return self._enum(info)
            case inspect.LiteralType():
                return "long" if isinstance(info.values[0], int) else "string"
            case inspect.ListType() | inspect.SetType() | inspect.FrozenSetType() | inspect.VarTupleType():
                return {"type": "array", "items": self._type(info.item_type, place)}
            case inspect.DictType() if isinstance(info.key_type, inspect.StrType):
                return {"type": "map", "values": self._type(info.value_type, place)}
            case inspect.StructType():
                return self._record(info, info.cls.__name__)
        if type(info) not in _PLAIN:
            raise self._none(place, type(info).__name__.removesuffix("Type").lower())
        return _PLAIN[type(info)]

    def _union(self, info: Any, place: str, default: Any) -> Any:
        """Order the branches: the default of a union is of its first one."""
        kinds = [self._type(t, place) for t in info.types]
        if sum(not isinstance(k, str) for k in kinds) > 1 and any(_is_record(k) for k in kinds):
            raise self._none(place, "a union of classes")
        is_none = default is None or default is msgspec.NODEFAULT
        kinds.sort(key=lambda kind: (kind == "null") != is_none)
        if not is_none:
            wanted = _PLAIN_OF.get(type(default))
            kinds.sort(key=lambda kind: kind != wanted)
        unique: list[Any] = []
        for kind in kinds:
            if kind not in unique:
                unique.append(kind)
        return unique if len(unique) > 1 else unique[0]

    def _enum(self, info: Any) -> Any:
        values = [member.value for member in info.cls]
        if all(isinstance(v, str) and _NAME.fullmatch(v) for v in values):
            if info.cls in self._seen:
                return self._seen[info.cls]
            self._seen[info.cls] = info.cls.__name__
            return {"type": "enum", "name": info.cls.__name__, "symbols": values}
        return "string" if isinstance(values[0], str) else "long"

    def _check_name(self, name: str, place: str) -> None:
        if not _NAME.fullmatch(name):
            raise DeclarationError(f"topic {self._topic!r}: {place} is {name!r}, which is no name in Avro.")

    def _none(self, place: str, what: str) -> DeclarationError:
        return DeclarationError(
            f"topic {self._topic!r}: {place} has no form in Avro ({what}): give it another type, or the topic a "
            "schema: codec=flows.Avro(schema)."
        )


_PLAIN_OF = {bool: "boolean", int: "long", float: "double", str: "string"}


def _is_record(kind: Any) -> bool:
    return isinstance(kind, dict) and kind["type"] == "record"


def _default(field: Any) -> Any:
    """Return a field's default as Avro writes it; `NODEFAULT` where there is none, or none that JSON can say."""
    if field.default_factory in (list, set, frozenset):
        return []
    if field.default_factory is dict:
        return {}
    default = field.default
    if default is None or (type(default) in _KEPT and not _is_special(default)):
        return float(default) if isinstance(field.type, inspect.FloatType) and type(default) is int else default
    if hasattr(default, "value") and type(default.value) in _KEPT:
        return default.value
    return [] if default == frozenset() or default == () else msgspec.NODEFAULT


def _is_special(value: Any) -> bool:
    return isinstance(value, float) and (value != value or value in (float("inf"), float("-inf")))
