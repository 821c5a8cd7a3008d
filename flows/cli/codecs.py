"""Values of Avro, Protobuf and codecs of a person's own, as commands take and show them: as JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from dsl.plan.graph import Plan
from flows.brokers.base import Records
from flows.cli.subject import Subject
from flows.decode.codecs import Codecs
from flows.decode.opened import open_codecs

_PLAIN = ("json", "msgpack", "raw")
_json = msgspec.json.Encoder(enc_hook=str, decimal_format="number").encode


@asynccontextmanager
async def opened_codecs(subject: Subject) -> AsyncIterator[Codecs]:
    """Open the codecs of a subject's plan, and close them at the end."""
    codecs = open_codecs(subject.plan, **subject.settings.read_schema_registry_options())
    try:
        yield codecs
    finally:
        await codecs.close()


async def shown(records: Records, plan: Plan, codecs: Codecs) -> Records:
    """Return records whose values are JSON where their codec is not seen by their bytes; what it refuses stays."""
    node = plan.topic(records.tp.topic)
    if node is None or node.codec in _PLAIN:
        return records
    await codecs.learn(records.tp.topic, records.values)
    decode = codecs.of(node).decode
    values = [None if value is None else _as_json(decode, value) for value in records.values]
    return msgspec.structs.replace(records, values=values)


def _as_json(decode: Callable[[bytes], Any], value: bytes) -> bytes:
    try:
        return _json(_fields(decode(value)))
    except Exception:  # noqa: BLE001  (a codec of the person's own may raise anything; the bytes tell more)
        return value


def _fields(value: Any) -> Any:
    """Return a Protobuf message's fields; any other value as it is."""
    if not hasattr(value, "DESCRIPTOR"):
        return value
    from flows.decode.protobuf import fields_of

    return fields_of(value)
