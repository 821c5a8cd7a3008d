"""Decoding: a topic's bytes become typed objects, once for all that read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from dsl.plan.nodes import TopicNode
from flows.brokers.base import Records
from flows.decode.base import ValueCodec
from flows.operate.base import DeadLetters


class ValueDecoder:
    """Decode a topic's values strictly; what does not fit is refused, one record at a time."""

    def __init__(self, node: TopicNode, codec: ValueCodec) -> None:
        self._node = node
        self._decode = codec.decode
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


class BuiltInCodec(msgspec.Struct, frozen=True):
    """The functions of a codec that is known by its name."""

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


def built_in_codec(codec: str, type_: Any) -> BuiltInCodec | None:
    """Return the codec of that name: "json", "msgpack" or "raw"."""
    if codec == "json":
        return BuiltInCodec(msgspec.json.Encoder().encode, msgspec.json.Decoder(_any_if_none(type_)).decode)
    if codec == "msgpack":
        return BuiltInCodec(msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(_any_if_none(type_)).decode)
    return BuiltInCodec(_raw, _text if type_ is str else bytes) if codec == "raw" else None


class OwnCodec:
    """A person's codec: what it returns is checked, what it raises names it."""

    def __init__(self, name: str, encode: Callable[[Any], bytes], decode: Callable[[bytes], Any], type_: Any) -> None:
        self._name, self._encode, self._decode = name, encode, decode
        self._record = type_ if isinstance(type_, type) and issubclass(type_, msgspec.Struct) else None

    def encode(self, value: Any) -> bytes:
        """Return a value's bytes. Raises ValueError for what the codec refuses, TypeError where it returns others."""
        try:
            found = self._encode(value)
        except Exception as error:
            raise ValueError(f"codec {self._name} raised {type(error).__name__}: {error}") from error
        if not isinstance(found, bytes):
            raise TypeError(f"codec {self._name} encoded to {type(found).__name__}, expected bytes")
        return found

    def decode(self, data: bytes) -> Any:
        """Return the value of bytes; of a Record what can be made one. Raises what the codec does."""
        found = self._decode(data)
        if self._record is None or type(found) is self._record:
            return found
        return msgspec.convert(found, self._record)


def _any_if_none(type_: Any) -> Any:
    return Any if type_ is None else type_


def _text(value: bytes) -> str:
    return value.decode()


def _raw(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    raise TypeError(f"a raw topic takes bytes or str, not {type(value).__name__}")
