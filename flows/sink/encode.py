"""Values for topics become records: checked against the topic's type, keyed, sized, and given a partition."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Callable
from typing import Any

import msgspec

from dsl.plan.nodes import TopicNode
from flows.brokers.base import Headers
from flows.errors import RecordTooLarge
from flows.sink.base import EncodeKey, PartitionOf

_KEPT = (bytes, dt.datetime, dt.date, dt.time, dt.timedelta, decimal.Decimal, uuid.UUID)

Output = tuple[str, int, bytes | None, bytes | None, int, Headers]


class TopicEncoder:
    """Encode values for one topic."""

    def __init__(
        self,
        node: TopicNode,
        type_: Any,
        encode: Callable[[Any], bytes],
        encode_key: EncodeKey,
        partitioner: PartitionOf,
        max_bytes: int,
        now_ms: Callable[[], int],
        *,
        needs_key: bool = False,
    ) -> None:
        self._node, self._type, self._needs_key = node, type_, needs_key
        self._encode, self._encode_key, self._partitioner = encode, encode_key, partitioner
        self._max_bytes, self._now_ms = max_bytes, now_ms
        self.topic, self.partitions, self.key_field = node.name, node.partitions, node.key
        self._is_encoded = () if type_ is bytes and node.codec != "raw" else bytes
        # The types whose values are checked. A codec of a person's own, and a schema, check what is no Record.
        is_record = isinstance(type_, type) and issubclass(type_, msgspec.Struct)
        is_free = type_ is None or type_ is Any or node.codec not in ("json", "msgpack")
        self._checks = is_record or not is_free

    def encode(
        self,
        value: Any,
        key: Any = None,
        timestamp: float | None = None,
        partition: int | None = None,
        headers: dict[str, bytes] | None = None,
    ) -> Output:
        """Return the record; raises `msgspec.ValidationError`, TypeError or `RecordTooLarge`.

        Bytes pass as they are, unless a codec makes others of them: they count as encoded already. None is a
        tombstone.
        """
        node = self._node
        if value is None or isinstance(value, self._is_encoded):
            data: bytes | None = value
        else:
            value = self._checked(value)
            data = self._encode(value)
            if key is None and node.key is not None:
                key = getattr(value, node.key)
        key_bytes = self._encode_key(key)
        if key_bytes is None and self._needs_key:
            raise ValueError(f"topic {node.name!r} is read as a global table: a record without a key is no row of it")
        size = len(data or b"") + len(key_bytes or b"")
        if size > self._max_bytes:
            raise RecordTooLarge(f"topic {node.name!r}: a record of {size} bytes, more than {self._max_bytes}")
        where = self._partitioner(key_bytes) if partition is None else self._checked_partition(partition)
        when = self._now_ms() if timestamp is None else round(timestamp * 1000)
        return node.name, where, key_bytes, data, when, tuple((headers or {}).items())

    def _checked(self, value: Any) -> Any:
        if not self._checks or type(value) is self._type:
            return value
        try:
            return msgspec.convert(msgspec.to_builtins(value, builtin_types=_KEPT), self._type)
        except msgspec.ValidationError as error:
            raise msgspec.ValidationError(f"topic {self._node.name!r} takes {self._node.value}: {error}") from error

    def _checked_partition(self, partition: int) -> int:
        if not 0 <= partition < self._node.partitions:
            raise ValueError(
                f"topic {self._node.name!r} has no partition {partition}: expected 0 to {self._node.partitions - 1}"
            )
        return partition


class Encoders:
    """The encoders of all topics of a plan, by name."""

    def __init__(self, by_topic: dict[str, TopicEncoder]) -> None:
        self._by_topic = by_topic

    def of(self, topic: str) -> TopicEncoder:
        """Return the encoder of a topic of the plan."""
        return self._by_topic[topic]

    def encode(
        self,
        topic: str,
        value: Any,
        key: Any,
        timestamp: float | None,
        partition: int | None,
        headers: dict[str, bytes] | None,
    ) -> Output:
        """Encode a value for a topic of the plan."""
        return self._by_topic[topic].encode(value, key, timestamp, partition, headers)

    def answer(self, topic: str, value: Any, key: bytes | None, headers: dict[str, bytes]) -> Output | None:
        """Encode an answer for a topic of the plan, keyed as what it answers; None where the plan has no such topic."""
        found = self._by_topic.get(topic)
        return None if found is None else found.encode(value, None if found.key_field else key, headers=headers)
