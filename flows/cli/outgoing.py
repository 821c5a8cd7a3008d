"""From what a person types to records: checked against the topic's declaration, keyed and given a partition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from dsl.errors import nearest
from dsl.plan.graph import Plan
from dsl.plan.nodes import TopicNode
from flows.brokers.base import Broker, Outgoing, TopicPartition
from flows.compile.context import partition_of
from flows.compile.names import topic_specs
from flows.decode.base import ValueCodec
from flows.decode.codecs import Codecs
from flows.decode.message_keys import encode_message_key
from flows.errors import FlowsError, UnknownTopic, UsageError
from flows.route.partitioner import Partitioner
from flows.sink.base import PartitionOf


class RecordMaker:
    """Turn typed values into records of one topic; `node` is None where the topic is not in the plan."""

    def __init__(
        self,
        topic: str,
        partitions: int,
        node: TopicNode | None,
        value_type: Any,
        codec: ValueCodec | None,
        *,
        key: str | None,
        timestamp: int,
        partition: int | None,
        partition_of: PartitionOf,
    ) -> None:
        if partition is not None and partition >= partitions:
            raise UsageError(f"topic {topic!r} has no partition {partition}", fix=f"it has 0 to {partitions - 1}")
        self._topic, self._node, self._timestamp, self._partition = topic, node, timestamp, partition
        self._key = None if key is None else key.encode()
        self._read = _reader(node, value_type)
        self._write = msgspec.json.encode if codec is None else codec.encode
        self._partition_of = partition_of
        self._waiting: dict[TopicPartition, Outgoing] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, text: bytes) -> None:
        """Add a record. Raises `FlowsError` that says what does not fit and where in the value (`$.path`)."""
        try:
            value = self._read(text)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            wanted = "JSON" if self._node is None else self._node.value
            raise FlowsError(f"topic {self._topic!r} takes {wanted}: {error}", fix="mend the value") from None
        key = self._key_of(value)
        if value is None and key is None:
            raise FlowsError("a tombstone (null) needs to know whose it is", fix="give --key")
        partition = self._partition_of(key) if self._partition is None else self._partition
        try:
            data = None if value is None else self._write(value)
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            raise FlowsError(f"topic {self._topic!r}: {error}", fix="mend the value") from None
        out = self._waiting.setdefault(TopicPartition(self._topic, partition), Outgoing())
        out.append(key, data, self._timestamp)
        self._count += 1

    def take(self) -> tuple[dict[TopicPartition, Outgoing], int]:
        """Hand over the records added since the last call, and how many they are."""
        taken, self._waiting = self._waiting, {}
        count, self._count = self._count, 0
        return taken, count

    def _key_of(self, value: Any) -> bytes | None:
        field = None if self._node is None else self._node.key
        if field is None or value is None:
            return self._key
        found = value.get(field) if isinstance(value, dict) else getattr(value, field, None)
        declared = encode_message_key(found)
        if self._key is not None and self._key != declared:
            raise FlowsError(
                f"--key {self._key.decode()!r} is not the declared key, {field} = {found!r}", fix="leave --key out"
            )
        return declared


async def record_maker(
    broker: Broker, plan: Plan, codecs: Codecs, topic: str, key: str | None, timestamp: int, partition: int | None
) -> RecordMaker:
    """Make the maker of a topic's records; a declared topic that the broker lacks is created, its schema registered.

    Raises `UnknownTopic` for one that is neither declared nor at the broker.
    """
    node = plan.topic(topic)
    there = await broker.topics()
    if topic not in there:
        spec = next((s for s in topic_specs(plan) if s.name == topic), None)
        if spec is None:
            raise unknown_topic(topic, plan, set(there))
        await broker.create_topic(spec)
        there[topic] = spec
    value_type = None if node is None else plan.types.get(node.id)
    partitions = there[topic].partitions
    if node is not None:
        await codecs.open([node])
    return RecordMaker(
        topic,
        partitions,
        node,
        value_type,
        None if node is None else codecs.of(node),
        key=key,
        timestamp=timestamp,
        partition=partition,
        partition_of=Partitioner(partitions).of if node is None else partition_of(plan, node, partitions),
    )


def unknown_topic(topic: str, plan: Plan, there: set[str]) -> UnknownTopic:
    """Make the error of a topic that is not there."""
    names = sorted(there | {t.name for t in plan.of_type(TopicNode)})
    close = nearest(topic, names)
    listed = ", ".join(n for n in names if not n.startswith(f"{plan.app}-")) or "none yet"
    return UnknownTopic(
        f"there is no topic {topic!r}", fix=f"did you mean {close!r}?" if close else f"topics: {listed}"
    )


def _reader(node: TopicNode | None, value_type: Any) -> Callable[[bytes], Any]:
    if node is not None and node.codec == "raw":
        return bytes
    if node is not None and node.codec == "protobuf" and not _is_record(value_type):
        return msgspec.json.decode
    if value_type is None or value_type is dict:
        return msgspec.json.decode
    whole = msgspec.json.Decoder(value_type)
    return lambda text: None if text.strip() == b"null" else whole.decode(text)


def _is_record(value_type: Any) -> bool:
    return isinstance(value_type, type) and issubclass(value_type, msgspec.Struct)
