"""Avro values behind Confluent's header: read by the writer's schema into the reader's, as the specification resolves.

https://avro.apache.org/docs/1.12.0/specification/#schema-resolution. The reader's schema is that of the topic's
declaration, the writer's that of the id. fastavro does the work, with three cares for bytes from anywhere: its compiled
reader takes a recursive schema as deep as the bytes say and dies of it, so such schemas go to its Python reader, which
stops at Python's limit; an array of what takes no bytes may claim any length, so no writer may have one; and bytes that
are left over are an error.
"""

from __future__ import annotations

import datetime as dt
import io
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import fastavro
import msgspec
from fastavro import _read_py as careful

from dsl.plan.nodes import ValueSchema
from flows.decode.base import RegisteredSchema
from flows.decode.confluent import HEADER, header, schema_id
from flows.errors import FlowsError

_KEPT = (bytes, dt.datetime, dt.date, dt.time, uuid.UUID)
_SHOWN = 300

Read = Callable[[io.BytesIO], Any]


class AvroCodec:
    """The codec of one topic; `known` are the schemas by id that may come."""

    def __init__(
        self, schema: ValueSchema, type_: Any, own_id: Callable[[], int], known: Mapping[int, RegisteredSchema]
    ) -> None:
        try:
            self._schema = parsed(RegisteredSchema(schema.definition))
        except Exception as error:  # as in _reader
            raise FlowsError(
                f"what is declared for {schema.subject!r} is no Avro schema: {type(error).__name__}: {_brief(error)}",
                fix="mend it: https://avro.apache.org/docs/1.12.0/specification/",
            ) from error
        self._definition, self._own_id, self._known = schema.definition, own_id, known
        self._type = Any if type_ is None else type_
        self._has_times = "timestamp-" in schema.definition
        self._readers: dict[int, Read] = {}

    def encode(self, value: Any) -> bytes:
        """Return a value's bytes; a datetime without a time zone is taken as UTC. Raises ValueError."""
        plain = msgspec.to_builtins(value, builtin_types=_KEPT)
        out = io.BytesIO()
        out.write(header(self._own_id()))
        try:
            fastavro.schemaless_writer(
                out, self._schema, in_utc(plain) if self._has_times else plain, strict_allow_default=True
            )
        except (
            Exception
        ) as error:  # fastavro raises what its parts do: AttributeError, KeyError, struct.error and others
            raise ValueError(
                f"the value does not fit its Avro schema: {error or type(error).__name__}"[:_SHOWN]
            ) from error
        return out.getvalue()

    def decode(self, data: bytes) -> Any:
        """Return the value of bytes. Raises ValueError, or `msgspec.ValidationError` for what the type refuses."""
        id = schema_id(data)
        read = self._readers.get(id) or self._reader(id)
        rest = io.BytesIO(data)
        rest.seek(HEADER)
        try:
            found = read(rest)
        except fastavro.read.SchemaResolutionError as error:
            raise ValueError(f"schema {id} cannot be read as the topic's: {_brief(error)}") from error
        except RecursionError:
            raise ValueError(f"a value of schema {id} is nested too deeply") from None
        except EOFError:
            raise ValueError(f"the bytes end within a value of schema {id}") from None
        except Exception as error:
            raise ValueError(f"no value of schema {id}: {type(error).__name__}: {_brief(error)}") from error
        if rest.tell() != len(data):
            raise ValueError(f"{len(data) - rest.tell()} bytes are left over after a value of schema {id}")
        return msgspec.convert(found, self._type)

    def _reader(self, id: int) -> Read:
        schema = self._known.get(id)
        if schema is None:
            raise ValueError(f"schema id {id} is unknown to the schema registry")
        if schema.kind != "AVRO":
            raise ValueError(f"schema {id} is of {schema.kind}, expected AVRO")
        try:
            writer = parsed(schema)
            checked_widths(writer)
        except Exception as error:  # a schema is anything that somebody registered
            raise ValueError(f"schema {id} is no Avro schema that can be read: {_brief(error)}") from error
        own = None if schema.definition == self._definition and not schema.references else self._schema
        module = careful if is_recursive(writer) or (own is not None and is_recursive(own)) else fastavro
        read = self._readers[id] = lambda data: module.schemaless_reader(data, writer, own)
        return read


def parsed(schema: RegisteredSchema) -> Any:
    """Parse a schema and those it refers to. Raises `SchemaParseException`."""
    names: dict[str, Any] = {}
    for _, text in schema.references:
        fastavro.parse_schema(msgspec.json.decode(text), named_schemas=names)
    return fastavro.parse_schema(msgspec.json.decode(schema.definition), named_schemas=names)


def is_recursive(schema: Any) -> bool:
    """Tell whether a parsed schema has values of any depth."""
    return any(name is _AGAIN for name in _walk(schema, _names(schema), ()))


def checked_widths(schema: Any) -> None:
    """Raise `SchemaParseException` for arrays of what takes no bytes: their length is bounded by nothing."""
    names = _names(schema)
    for part in _walk(schema, names, ()):
        if isinstance(part, dict) and part["type"] == "array" and _is_empty(part["items"], names, 0):
            raise fastavro.schema.SchemaParseException("it has an array of values that take no bytes")


_AGAIN = object()


def _names(schema: Any) -> Mapping[str, Any]:
    found = schema.get("__named_schemas") if isinstance(schema, dict) else None
    return found or {}


def _walk(schema: Any, names: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[Any]:
    """Yield a schema and its parts; `_AGAIN` in place of one that stands within itself."""
    if isinstance(schema, str) and schema in names:
        if schema in above:
            yield _AGAIN
            return
        schema = names[schema]
    yield schema
    if isinstance(schema, list):
        for branch in schema:
            yield from _walk(branch, names, above)
    elif isinstance(schema, dict):
        inside = (*above, schema["name"]) if "name" in schema else above
        for field in schema.get("fields", ()):
            yield from _walk(field["type"], names, inside)
        for part in ("items", "values"):
            if part in schema:
                yield from _walk(schema[part], names, inside)


def _is_empty(schema: Any, names: Mapping[str, Any], depth: int) -> bool:
    if isinstance(schema, str):
        return schema == "null" or (schema in names and depth < 64 and _is_empty(names[schema], names, depth + 1))
    if not isinstance(schema, dict):
        return False
    if schema["type"] == "fixed":
        return bool(schema["size"] == 0)
    if schema["type"] in ("record", "error"):
        return all(_is_empty(field["type"], names, depth + 1) for field in schema["fields"])
    return _is_empty(schema["type"], names, depth + 1) if schema["type"] == "null" else False


def in_utc(value: Any) -> Any:
    """Return a value whose datetimes all have a time zone: fastavro would take that of the machine."""
    if isinstance(value, dict):
        return {key: in_utc(item) for key, item in value.items()}
    if isinstance(value, list):
        return [in_utc(item) for item in value]
    if isinstance(value, dt.datetime) and value.tzinfo is None:
        return value.replace(tzinfo=dt.UTC)
    return value


def _brief(error: Exception) -> str:
    text = str(error)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
