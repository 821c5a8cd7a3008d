"""Events as outsiders write them become records: checked against the topic's declaration, keyed, given a partition.

`flows send` and the gateway both take them this way, so that a value that one of them takes, the other takes too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from dsl.plan.graph import Plan
from dsl.plan.nodes import TopicNode
from flows.clock import moment
from flows.compile.context import partition_of
from flows.decode.codecs import Codecs
from flows.decode.message_keys import encode_message_key
from flows.errors import FlowsError
from flows.route.partitioner import Partitioner
from flows.sink.base import PartitionOf


class Made(NamedTuple):
    """A record that is ready for the broker; `timestamp` in milliseconds since the epoch, None where none is told."""

    partition: int
    key: bytes | None
    value: bytes | None
    timestamp: int | None


class EventMaker:
    """Turn typed values into records of one topic; `node` is None where the topic is not in the plan.

    `max_bytes` is the most that key and value of one record may have together. What is told by the caller is named as
    in `words`: "--key" by a command, "the key" elsewhere.
    """

    def __init__(
        self,
        topic: str,
        node: TopicNode | None,
        value_type: Any,
        encode: Callable[[Any], bytes],
        partition_of: PartitionOf,
        *,
        max_bytes: int | None = None,
        words: str = "the key",
    ) -> None:
        self.name = topic
        self.raw = node is not None and node.codec == "raw"
        self._node, self._words, self._max_bytes = node, words, max_bytes
        self._read = _reader(node, value_type)
        self._write = encode
        self._partition_of = partition_of
        self._declared = None if node is None else node.key

    def make(
        self,
        text: bytes | msgspec.Raw,
        *,
        key: bytes | None = None,
        key_field: str | None = None,
        timestamp_field: str | None = None,
        partition: int | None = None,
    ) -> Made:
        """Make a record of a value's JSON, or of the bytes of a raw one.

        `key` is a message key as it is, `key_field` names the field that has it: the declared one by default.
        Raises `FlowsError` that says what does not fit and where in the value (`$.path`).
        """
        try:
            value = self._read(text)
        except Exception as error:  # noqa: BLE001  (a Record's __post_init__ may raise anything)
            wanted = "JSON" if self._node is None else self._node.value
            raise FlowsError(f"topic {self.name!r} takes {wanted}: {error}", fix="mend the value") from None
        key = self._key_of(value, key, key_field)
        if value is None and key is None:
            raise FlowsError("a tombstone (null) needs to know whose it is", fix=f"give {self._words}")
        when = None if timestamp_field is None else _milliseconds(_field(value, timestamp_field), timestamp_field)
        where = self._partition_of(key) if partition is None else partition
        try:
            data = None if value is None else self._write(value)
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            raise FlowsError(f"topic {self.name!r}: {error}", fix="mend the value") from None
        size = len(data or b"") + len(key or b"")
        if self._max_bytes is not None and size > self._max_bytes:
            raise FlowsError(f"topic {self.name!r}: a record of {size} bytes, more than {self._max_bytes}")
        return Made(where, key, data, when)

    def _key_of(self, value: Any, given: bytes | None, named: str | None) -> bytes | None:
        field = named or self._declared
        if field is None or value is None:
            return given
        found = _field(value, field)
        key = encode_message_key(found)
        if self._declared is not None and field != self._declared:
            declared = encode_message_key(_field(value, self._declared))
            if declared != key:
                raise FlowsError(
                    f"{self._words} {field} = {found!r} is not the declared key, {self._declared} = {declared!r}",
                    fix=f"leave {self._words} out",
                )
        if given is not None and given != key:
            raise FlowsError(
                f"{self._words} {given.decode(errors='replace')!r} is not the declared key, {field} = {found!r}",
                fix=f"leave {self._words} out",
            )
        return key


def event_maker(
    plan: Plan,
    codecs: Codecs,
    topic: str,
    partitions: int,
    *,
    max_bytes: int | None = None,
    words: str = "the key",
) -> EventMaker:
    """Make the maker of a topic's records; the topic need not be in the plan."""
    node = plan.topic(topic)
    return EventMaker(
        topic,
        node,
        None if node is None else plan.types.get(node.id),
        msgspec.json.encode if node is None else codecs.of(node).encode,
        Partitioner(partitions).of if node is None else partition_of(plan, node, partitions),
        max_bytes=max_bytes,
        words=words,
    )


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)


def _milliseconds(value: Any, field: str) -> int:
    try:
        return round(moment(value) * 1000)
    except (TypeError, ValueError, OverflowError):
        raise FlowsError(
            f"{field} = {value!r} is no time", fix="write seconds since the epoch, or 2013-01-01T05:00:00"
        ) from None


def _reader(node: TopicNode | None, value_type: Any) -> Callable[[Any], Any]:
    if node is not None and node.codec == "raw":
        return bytes
    if node is not None and node.codec == "protobuf" and not _is_record(value_type):
        return msgspec.json.decode
    if value_type is None or value_type is dict:
        return msgspec.json.decode
    whole = msgspec.json.Decoder(value_type)
    return lambda text: None if bytes(text).strip() == b"null" else whole.decode(text)


def _is_record(value_type: Any) -> bool:
    return isinstance(value_type, type) and issubclass(value_type, msgspec.Struct)
