"""What the test driver hands out of topics, and how it makes a record of what a test sends."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from dsl.plan.graph import Plan
from dsl.plan.nodes import (
    PASSING,
    ChangesNode,
    GlobalLookupNode,
    JoinNode,
    LookupNode,
    MapNode,
    MergeNode,
    ProjectNode,
    SinkNode,
    TopicNode,
    inputs_of,
)
from dsl.plan.types import Kind
from flows.brokers.base import Headers, Records, TopicPartition
from flows.brokers.memory import MemoryBroker
from flows.decode.base import ValueCodec


class OutputRecord(msgspec.Struct, frozen=True):
    """A record that came out: `timestamp` in seconds, `value` of the topic's type, None for a removal.

    `window` and `window_end` are the bounds of the row's window in seconds, of a change of a table that has windows.
    """

    key: Any
    value: Any
    timestamp: float | None
    headers: dict[str, bytes] = {}
    window: float | None = None
    window_end: float | None = None


class LateRecord(msgspec.Struct, frozen=True):
    """A late record: its value, event time, and the starts of the windows that were closed for it, in seconds."""

    key: Any
    value: Any
    timestamp: float
    windows: list[float]
    stream_time: float

    @classmethod
    def of(cls, record: OutputRecord) -> LateRecord:
        decode = msgspec.json.decode
        return cls(
            record.key,
            record.value,
            decode(record.headers["event-time"]),
            decode(record.headers["windows"]),
            decode(record.headers["stream-time"]),
        )


class DeadLetter(msgspec.Struct, frozen=True):
    """A refused record: its bytes, why, and where it came from."""

    key: bytes | None
    value: bytes | None
    reason: str
    step: str
    topic: str
    partition: int
    offset: int

    @classmethod
    def of(cls, record: OutputRecord) -> DeadLetter:
        text = {name: content.decode() for name, content in record.headers.items() if not name.startswith("original-")}
        return cls(
            record.key,
            record.value,
            text["reason"],
            text["step"],
            text["topic"],
            int(text["partition"]),
            int(text["offset"]),
        )


class TopicReader:
    """Read a topic of the driver's broker, decoded."""

    def __init__(self, broker: MemoryBroker, name: str, node: TopicNode | None, codec: ValueCodec | None) -> None:
        self._broker, self._name, self._node = broker, name, node
        self._positions: dict[TopicPartition, int] = {}
        internal = node is None or node.internal
        self._raw = internal and name.endswith("-dead-letters")
        self._decode = msgspec.json.decode if codec is None else codec.decode

    def take(self) -> list[OutputRecord]:
        """Return the records since the last call, partition by partition."""
        found = []
        for tp in self._broker.partitions(self._name):
            records = self._broker.read(tp, self._positions.get(tp, 0))
            if records is not None:
                self._positions[tp] = records.next_offset
                found += self._outputs(records)
        return found

    def all(self) -> list[OutputRecord]:
        """Return all records."""
        self._positions.clear()
        return self.take()

    def _outputs(self, records: Records) -> list[OutputRecord]:
        headers = records.headers or [()] * len(records)
        return [
            OutputRecord(self._key(key), self._value(value), timestamp / 1000, _dict(own))
            for key, value, timestamp, own in zip(
                records.keys, records.values, records.timestamps, headers, strict=True
            )
        ]

    def _value(self, value: bytes | None) -> Any:
        return value if value is None or self._raw else self._decode(value)

    def _key(self, key: bytes | None) -> Any:
        if key is None or self._raw:
            return key
        if self._node is not None and self._node.schema is not None and self._node.key is not None:
            field = self._node.schema.get(self._node.key)
            if field is not None and field.kind in (Kind.INT, Kind.BOOL):
                return msgspec.json.decode(key)
        try:
            return key.decode()
        except UnicodeDecodeError:
            return key


def _dict(headers: Headers) -> dict[str, bytes]:
    return dict(headers)


def event_value(node: TopicNode, codec: ValueCodec, value: Any, key: Any, at: float | None) -> tuple[Any, Any]:
    """Complete what a test sends: the event time goes into the timestamp field, the key comes from the key field."""
    if value is None:
        return value, key
    if isinstance(value, bytes):
        return value, _key_of_bytes(node, codec, value) if key is None else key
    if at is not None and node.timestamp is not None and node.schema is not None:
        field = node.schema.get(node.timestamp)
        assert field is not None
        value = _with_time(value, node.timestamp, _as_field(at, field.kind, node.unit))
    return value, key


def _with_time(value: Any, field: str, time: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(value, **{field: time})
    return {**value, field: time}


def _as_field(at: float, kind: Kind, unit: str) -> Any:
    if kind is Kind.DATETIME:
        return dt.datetime.fromtimestamp(at, dt.UTC)
    scaled = at * {"s": 1, "ms": 1_000, "us": 1_000_000}[unit]
    return round(scaled) if kind is Kind.INT else scaled


def _key_of_bytes(node: TopicNode, codec: ValueCodec, value: bytes) -> Any:
    """Key a raw value as its producer would have, if it can be decoded."""
    if node.key is None:
        return None
    try:
        return getattr(codec.decode(value), node.key)
    except Exception:  # noqa: BLE001  (a codec of the person's own may raise anything)
        return None


_MADE = (ProjectNode, JoinNode, LookupNode, GlobalLookupNode, ChangesNode)
"""The nodes whose rows are of no class that the person declared."""


def with_taps(plan: Plan) -> tuple[Plan, dict[str, str]]:
    """Add to each derived stream a topic that the driver reads; return the plan and the topics by step."""
    taps: dict[str, str] = {}
    nodes = list(plan.nodes.values())
    for node in plan.of_type(*PASSING, MergeNode, MapNode, *_MADE):
        if isinstance(node, ChangesNode) and node.retract:
            continue
        name = f"{plan.app}-tap-{node.id}"
        taps[node.id] = name
        partitions = plan_partitions(plan, node.id)
        nodes.append(TopicNode(id=name, name=name, value="row", codec="msgpack", partitions=partitions, internal=True))
        nodes.append(SinkNode(id=f"{name}.to", input=node.id, topic=name))
    types = dict(plan.types)
    for step, name in taps.items():
        types[name] = _row_type(plan, step)
    return Plan(plan.app, tuple(nodes), plan.functions, types), taps


def plan_partitions(plan: Plan, step: str) -> int:
    """Return the partitions of the topic that a step's records come from."""
    node: Any = plan.nodes[step]
    while not hasattr(node, "partitions"):
        node = plan.nodes[inputs_of(node)[0]]
    return int(node.partitions)


def _row_type(plan: Plan, step: str) -> Any:
    node: Any = plan.nodes[step]
    while isinstance(node, (*PASSING, MergeNode)):
        node = plan.nodes[inputs_of(node)[0]]
    return Any if isinstance(node, _MADE) else plan.types.get(node.id, Any)
