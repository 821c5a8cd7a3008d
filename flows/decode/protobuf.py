"""Protobuf values behind Confluent's header, as messages or as the Record that has their fields.

A reader takes its own message whatever the id: that is how Protobuf evolves, by field numbers. A Record's fields are
those of the message by name; what a message leaves out (`optional`, a message) is left to the Record's default, an enum
is its value's name, and `Timestamp` and `Duration` are a datetime and a timedelta.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Callable
from typing import Any

import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from dsl.plan.nodes import ValueSchema
from flows.decode.confluent import HEADER, decode_path, encode_path, header, schema_id

Field = Any
"""A field's descriptor, which has a class for each of the library's engines."""

_KEPT = (bytes, dt.datetime, dt.timedelta)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_TIMES = ("google.protobuf.Timestamp", "google.protobuf.Duration")


class ProtobufCodec:
    """The codec of one topic; `message` is its class, None where only the plan is known."""

    def __init__(
        self, schema: ValueSchema, type_: Any, own_id: Callable[[], int], message: type[Message] | None
    ) -> None:
        self._own_id = own_id
        self._prefix = encode_path(schema.path)
        self._message: type[Message] = message or _class_of(schema)
        is_record = isinstance(type_, type) and issubclass(type_, msgspec.Struct)
        self._record: Any = type_ if is_record else None

    def encode(self, value: Any) -> bytes:
        """Return a value's bytes. Raises ValueError or TypeError for what its message cannot hold."""
        if not isinstance(value, Message):
            built = self._message()
            fill(built, msgspec.to_builtins(value, builtin_types=_KEPT))
            value = built
        elif value.DESCRIPTOR.full_name != self._message.DESCRIPTOR.full_name:
            raise TypeError(f"a message {value.DESCRIPTOR.full_name}, expected {self._message.DESCRIPTOR.full_name}")
        data: bytes = value.SerializeToString(deterministic=True)
        return header(self._own_id()) + self._prefix + data

    def decode(self, data: bytes) -> Any:
        """Return the value of bytes. Raises ValueError, or `msgspec.ValidationError` for what the Record refuses."""
        schema_id(data)
        _, start = decode_path(data, HEADER)
        found = self._message()
        try:
            found.ParseFromString(data[start:])
        except DecodeError as error:
            raise ValueError(f"no message {self._message.DESCRIPTOR.full_name}: {error}") from None
        return found if self._record is None else msgspec.convert(fields_of(found), self._record)


def fields_of(message: Message) -> dict[str, Any]:
    """Return a message's fields by name, without those that were left out."""
    found: dict[str, Any] = {}
    field: Field
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        if _is_map(field):
            inner = field.message_type.fields_by_name["value"]
            found[field.name] = {key: _plain(inner, value[key]) for key in value}
        elif field.is_repeated:
            found[field.name] = [_plain(field, item) for item in value]
        else:
            found[field.name] = _plain(field, value)
    return found


def fill(message: Message, values: Any) -> None:
    """Set a message's fields by name; None leaves one out. Raises ValueError, TypeError."""
    if not isinstance(values, dict):
        raise TypeError(f"a message {message.DESCRIPTOR.full_name} is made of fields, not of {type(values).__name__}")
    for name, value in values.items():
        field: Field = message.DESCRIPTOR.fields_by_name.get(name)
        if field is None:
            raise ValueError(f"a message {message.DESCRIPTOR.full_name} has no field {name!r}")
        if value is not None:
            _set(message, field, value)


def _set(message: Message, field: Field, value: Any) -> None:
    place = getattr(message, field.name)
    if _is_map(field):
        inner = field.message_type.fields_by_name["value"]
        for key, item in value.items():
            if inner.message_type is None:
                place[key] = _scalar(inner, item)
            else:
                _fill_one(place[key], item)
    elif field.is_repeated:
        for item in value:
            if field.message_type is None:
                place.append(_scalar(field, item))
            else:
                _fill_one(place.add(), item)
    elif field.message_type is None:
        setattr(message, field.name, _scalar(field, value))
    else:
        place.SetInParent()
        _fill_one(place, value)


def _fill_one(message: Any, value: Any) -> None:
    if isinstance(value, dt.datetime):
        since = (value if value.tzinfo else value.replace(tzinfo=dt.UTC)) - _EPOCH
        message.seconds, message.nanos = since // dt.timedelta(seconds=1), since.microseconds * 1000
    elif isinstance(value, dt.timedelta):
        message.FromTimedelta(value)
    else:
        fill(message, value)


def _scalar(field: Field, value: Any) -> Any:
    if field.enum_type is None or not isinstance(value, str):
        return value
    if value not in field.enum_type.values_by_name:
        raise ValueError(f"{field.enum_type.full_name} has no value {value!r}")
    return field.enum_type.values_by_name[value].number


def _plain(field: Field, value: Any) -> Any:
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return value if known is None else known.name
    if field.message_type is None:
        return value
    if field.message_type.full_name in _TIMES:
        since = dt.timedelta(seconds=value.seconds) + (value.nanos // 1000) * _MICROSECOND
        return _EPOCH + since if field.message_type.name == "Timestamp" else since
    return fields_of(value)


def _is_map(field: Field) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _class_of(schema: ValueSchema) -> type[Message]:
    """Make the class of the plan's descriptors."""
    pool = descriptor_pool.DescriptorPool()
    own = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(schema.definition))
    files = [descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(text)) for _, text in schema.references]
    for file in (*files, own):
        for name in file.dependency:
            if name.startswith("google/protobuf/"):
                needed = descriptor_pool.Default().FindFileByName(name)
                pool.AddSerializedFile(needed.serialized_pb)
        pool.Add(file)
    found: type[Message] = message_factory.GetMessageClass(pool.FindMessageTypeByName(schema.message))
    return found
