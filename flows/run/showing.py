"""Records as people read them, in a terminal and on the page: text where bytes are text, JSON where values are some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from dsl.plan.graph import Plan
from flows.brokers.base import Records
from flows.decode.base import nests_deeper
from flows.decode.codecs import Codecs

SHOWN = 4096
"""Characters of a key, a value and a header that lists show."""

_DEPTH = 64
_PLAIN = ("json", "msgpack", "raw")
_json = msgspec.json.Encoder(enc_hook=str, decimal_format="number").encode


async def shown(records: Records, plan: Plan, codecs: Codecs) -> Records:
    """Return records whose values are JSON where their codec is not seen by their bytes; what it refuses stays."""
    node = plan.topic(records.tp.topic)
    if node is None or node.codec in _PLAIN:
        return records
    await codecs.learn(records.tp.topic, records.values)
    decode = codecs.of(node).decode
    values = [None if value is None else _as_json(decode, value) for value in records.values]
    return msgspec.structs.replace(records, values=values)


def text_of(data: bytes | None) -> str | None:
    """Return text as it is; of other bytes, msgpack as JSON, or else their hexadecimal form."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        try:
            return msgspec.json.encode(msgspec.msgpack.decode(data), enc_hook=str).decode()
        except (msgspec.MsgspecError, TypeError, ValueError, RecursionError):
            return f"0x{data.hex()}"


def value_of(text: str | None) -> Any:
    """Return a value's text as JSON where it is some."""
    if text is None or nests_deeper(text.encode(errors="replace"), _DEPTH):
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def cut(text: str | None) -> str | None:
    """Return the beginning of a text that is too long for a list."""
    return text if text is None or len(text) <= SHOWN else text[:SHOWN]


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
