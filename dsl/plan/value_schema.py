"""The schema that a topic's values are written with, where a schema registry keeps it: Avro and Protobuf."""

from __future__ import annotations

import msgspec


class ValueSchema(msgspec.Struct, frozen=True, kw_only=True):
    """What is registered under `subject`: `definition` is JSON text (Avro), or a file descriptor in base64 (Protobuf).

    `message` is the full name of a Protobuf message, `path` its place in its file: the index of the outermost message,
    then those of nested ones. `references` are the files that it imports, by name, each after those it imports itself.
    """

    subject: str
    definition: str
    message: str = ""
    path: tuple[int, ...] = ()
    references: tuple[tuple[str, str], ...] = ()


def encode_rule(topic: str) -> str:
    """Name the function of a plan that encodes a topic's values."""
    return f"{topic}.encode"


def decode_rule(topic: str) -> str:
    """Name the function of a plan that decodes a topic's values."""
    return f"{topic}.decode"


def message_rule(topic: str) -> str:
    """Name the Protobuf message class of a topic among the functions of a plan."""
    return f"{topic}.message"
