"""Decoding: a topic's bytes become typed objects, once for all that read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from dsl.plan.nodes import TopicNode
from flows.brokers.base import Records
from flows.operate.base import DeadLetters


class ValueDecoder:
    """Decode a topic's values strictly; what does not fit is refused, one record at a time."""

    def __init__(self, node: TopicNode, type_: Any) -> None:
        self._node = node
        self._decode = decoder_of(node.codec, type_)
        self._expected = node.value
        self._null_ok = node.schema is None

    def decode(self, records: Records, dead: DeadLetters) -> tuple[Records, Sequence[Any]]:
        """Return the records that could be decoded and their values."""
        decode = self._decode
        try:
            return records, [decode(v) for v in records.values]  # type: ignore[arg-type]
        except Exception:  # noqa: BLE001  (a Record's __post_init__ may raise anything)
            return self._one_by_one(records, dead)

    def _one_by_one(self, records: Records, dead: DeadLetters) -> tuple[Records, Sequence[Any]]:
        objects: list[Any] = []
        good: list[int] = []
        for i, value in enumerate(records.values):
            reason = None
            if value is None:
                if self._null_ok:
                    objects.append(None)
                    good.append(i)
                    continue
                reason = f"null value: expected {self._expected}"
            else:
                try:
                    objects.append(self._decode(value))
                    good.append(i)
                    continue
                except Exception as error:  # noqa: BLE001  (as above)
                    reason = f"not a valid {self._expected}: {error}"
            dead.refuse(self._node.id, records, i, reason, on_error=self._node.on_error)
        return records.take(good), objects


def decoder_of(codec: str, type_: Any) -> Callable[[bytes], Any]:
    """Return what makes a value of a topic's bytes; it raises `msgspec.MsgspecError` for what does not fit."""
    if codec == "json":
        return msgspec.json.Decoder(type_).decode
    if codec == "msgpack":
        return msgspec.msgpack.Decoder(type_).decode
    return _text if type_ is str else bytes


def _text(value: bytes) -> str:
    return value.decode()


def encoder_of(codec: str) -> Callable[[Any], bytes]:
    """Return the function that makes a topic's bytes of a value; raises TypeError for what has no form there."""
    if codec == "json":
        return msgspec.json.Encoder().encode
    if codec == "msgpack":
        return msgspec.msgpack.Encoder().encode
    return _raw


def _raw(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    raise TypeError(f"a raw topic takes bytes or str, not {type(value).__name__}")
