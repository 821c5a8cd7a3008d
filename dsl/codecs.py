"""How a topic's values become bytes: by name, by functions of a person's own, or by a schema in a registry."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from dsl.avro_schema import avro_schema, named
from dsl.errors import DeclarationError, nearest
from dsl.plan.types import value_name
from dsl.plan.value_schema import ValueSchema, decode_rule, encode_rule, message_rule

BUILT_IN = ("json", "msgpack", "raw", "avro", "protobuf")
"""The codecs that are known by name; a codec of one's own cannot have one of these names."""


class Codec:
    """Encode and decode a topic's values by functions of your own.

    `encode` takes a value and returns bytes, `decode` takes bytes and returns the value; a Record's fields may come as
    a dict. What they raise refuses the record: it goes to the dead letters. `name` is what the plan shows.

    >>> upper = Codec(lambda text: text.upper().encode(), lambda data: data.decode().lower(), name="upper")
    >>> upper.decode(upper.encode("jfk"))
    'jfk'
    """

    def __init__(self, encode: Callable[[Any], bytes], decode: Callable[[bytes], Any], *, name: str) -> None:
        self.encode, self.decode, self.name = encode, decode, name


class Avro:
    """Write a topic's values as Avro, behind the id of their schema in a Confluent schema registry.

    Without a `schema` it is derived from the topic's Record, called `name` (the Record's name by default). `schema` is
    an Avro schema as JSON text, dict or list. `subject` is what it is registered under: the topic's name and `-value`
    by default, which is Confluent's TopicNameStrategy.

    >>> app.topic("orders", value=Departure, codec=flows.Avro(name="com.acme.Departure"))
    <Topic orders>
    """

    def __init__(self, schema: Any = None, *, subject: str | None = None, name: str | None = None) -> None:
        self.schema, self.subject, self.name = schema, subject, name

    def value_schema(self, topic: str, value: Any) -> ValueSchema:
        """Return the schema of a topic's values. Raises `DeclarationError` where there is none."""
        if self.schema is None:
            schema = avro_schema(topic, value, self.name)
        else:
            schema = _given_schema(topic, self.schema)
            if self.name is not None:
                raise DeclarationError(
                    f"topic {topic!r}: Avro(schema, name=…) names the schema twice: leave name= out."
                )
        text = msgspec.json.encode(schema).decode()
        return ValueSchema(subject=self.subject or f"{topic}-value", definition=text)


class Protobuf:
    """Write a topic's values as Protobuf messages, behind the id of their schema in a Confluent schema registry.

    `message` is the class that `protoc` made. The values are its messages where the topic is declared without
    `value=`, else the Record that has its fields. `subject` is as for `Avro`.
    """

    def __init__(self, message: type, *, subject: str | None = None) -> None:
        descriptor = getattr(message, "DESCRIPTOR", None)
        if not isinstance(message, type) or not hasattr(getattr(descriptor, "file", None), "serialized_pb"):
            raise DeclarationError(f"Protobuf takes a message class that protoc made, not {message!r}.")
        self.message, self.subject = message, subject
        self._descriptor: Any = descriptor

    def value_schema(self, topic: str) -> ValueSchema:
        """Return the schema of a topic's values."""
        described, path = self._descriptor, [_place(self._descriptor)]
        while described.containing_type is not None:
            described = described.containing_type
            path.insert(0, _place(described))
        return ValueSchema(
            subject=self.subject or f"{topic}-value",
            definition=_file(described.file),
            message=self._descriptor.full_name,
            path=tuple(path),
            references=tuple(_imports(described.file).items()),
        )


class Chosen(msgspec.Struct, frozen=True):
    """What a declaration of a codec comes to: its name, the values, what is registered, and what runs."""

    name: str
    value: Any
    schema: ValueSchema | None = None
    functions: Mapping[str, Callable[..., Any]] = {}


def chosen_codec(topic: str, codec: Any, value: Any) -> Chosen:
    """Read a topic's `codec=`. Raises `DeclarationError`."""
    match codec:
        case None:
            return Chosen("raw" if value in (bytes, str) else "json", value)
        case "avro":
            return Chosen("avro", value, Avro().value_schema(topic, value))
        case "protobuf":
            raise DeclarationError(
                f"topic {topic!r}: say which message it carries: codec=flows.Protobuf(MessageClass)."
            )
        case str():
            if codec not in BUILT_IN:
                raise DeclarationError(
                    f"topic {topic!r}: codec={codec!r}: expected one of {', '.join(BUILT_IN)}, or a flows.Codec.",
                    suggestion=nearest(codec, BUILT_IN),
                )
            return Chosen(codec, value)
        case Avro():
            return Chosen("avro", value, codec.value_schema(topic, value))
        case Protobuf():
            runs = {message_rule(topic): codec.message}
            shown = codec.message if value is dict else value
            return Chosen("protobuf", shown, codec.value_schema(topic), runs)
    return _own(topic, codec, value)


def _own(topic: str, codec: Any, value: Any) -> Chosen:
    encode, decode = getattr(codec, "encode", None), getattr(codec, "decode", None)
    if not (callable(encode) and callable(decode)):
        raise DeclarationError(
            f"topic {topic!r}: codec={codec!r} is no codec: it needs the functions encode(value) and decode(data)."
        )
    name = getattr(codec, "name", None) or value_name(codec if isinstance(codec, type) else type(codec))
    if not isinstance(name, str) or name in BUILT_IN:
        raise DeclarationError(f"topic {topic!r}: a codec cannot be called {name!r}: choose a name of your own.")
    return Chosen(name, value, None, {encode_rule(topic): encode, decode_rule(topic): decode})


def _given_schema(topic: str, schema: Any) -> Any:
    if isinstance(schema, str):
        try:
            return msgspec.json.decode(schema)
        except msgspec.DecodeError as problem:
            if schema.isidentifier():
                return schema
            raise DeclarationError(f"topic {topic!r}: the Avro schema is no JSON: {problem}.") from None
    if isinstance(schema, (dict, list)):
        return schema
    raise DeclarationError(f"topic {topic!r}: an Avro schema is JSON text, a dict or a list, not {named(schema)}.")


def _place(message: Any) -> int:
    """Return the index of a message among those that stand beside it."""
    beside = message.containing_type.nested_types if message.containing_type else message.file.message_types_by_name
    return [getattr(other, "name", other) for other in beside].index(message.name)


def _file(described: Any) -> str:
    return base64.b64encode(described.serialized_pb).decode()


def _imports(described: Any) -> dict[str, str]:
    """Return the files that a file imports, those it needs first; Google's own come with every registry."""
    found: dict[str, str] = {}
    for needed in described.dependencies:
        if not needed.name.startswith("google/protobuf/"):
            found |= _imports(needed)
            found[needed.name] = _file(needed)
    return found
