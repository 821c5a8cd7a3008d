"""Global tables: a topic's records as rows, how a worker's copy is read, and joins onto it.

A copy has a store table for each partition of its topic, so that each has the position it stands for; a key that lies
in several, which no partitioner does, is that of the first of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from dsl.plan.column_types import column_types
from dsl.plan.fingerprint import describe
from dsl.plan.graph import Plan
from dsl.plan.nodes import GlobalLookupNode, GlobalTableNode, TopicNode
from dsl.plan.types import Schema
from flows.brokers.base import Records
from flows.compile.columns import schema_of_step
from flows.compile.expressions import compile_expr, frame_schema
from flows.compile.values import key_types, row_shape
from flows.decode.base import ValueCodec
from flows.decode.message_keys import KeyClaim, decode_message_key
from flows.decode.times import EventTimes
from flows.decode.values import ValueDecoder
from flows.operate.base import Batch, DeadLetters, FrameStep, Times
from flows.operate.dict_table import KeyCheck
from flows.operate.joins.table_lookup import Row, TableLookup
from flows.state.base import Store
from flows.state.keys import KeyCodec

if TYPE_CHECKING:
    from flows.compile.task import TaskCompiler

_CACHE = 200_000
_ON = "$on"
_MISSING = object()
_pack = msgspec.msgpack.Encoder().encode

Entry = tuple[bytes, bytes]


class GlobalRows:
    """Turn the records of a global table's topic into its rows: those of `flows.operate.joins.topic_table`."""

    def __init__(
        self, plan: Plan, node: GlobalTableNode, codec: ValueCodec, now: Callable[[], float], dead: DeadLetters
    ) -> None:
        topic = plan.nodes[node.topic]
        assert isinstance(topic, TopicNode)
        assert topic.key is not None
        self.topic, self._node, self._dead = topic, node, dead
        self._values, self._times = ValueDecoder(topic, codec), EventTimes(topic, now, 0.0)
        self._claim = KeyClaim(topic.name, topic.key, topic.on_error)
        (self._type,) = key_types(node.schema, node.keys)
        self._keys = KeyCodec((self._type,))

    def of(self, records: Records) -> Records:
        """Return records whose keys and values are those of rows; of what is refused the older row stays.

        A record that cannot be decoded, or whose key is not the declared field, is refused by the topic's `on_error`.
        """
        gone = {row: None for row, value in enumerate(records.values) if value is None}
        there = records if not gone else records.take([row for row in range(len(records)) if row not in gone])
        there, objects = self._values.decode(there, self._dead)
        wrong = {*self._claim.wrong_rows(there, objects, self._dead)} if objects else set()
        rows: dict[int, tuple[bytes, bytes | None]] = {}
        for place, (key, value) in enumerate(self._encoded(there, objects)):
            if place not in wrong:
                rows[there.offsets[place]] = key, value
        for row in gone:
            if (removed := self._removed(records, row)) is not None:
                rows[records.offsets[row]] = removed, None
        offsets = sorted(rows)
        return Records(
            tp=records.tp,
            offsets=offsets,
            timestamps=[0] * len(offsets),
            keys=[rows[offset][0] for offset in offsets],
            values=[rows[offset][1] for offset in offsets],
            headers=None,
            next_offset=records.next_offset,
        )

    def _encoded(self, records: Records, objects: Sequence[Any]) -> Iterator[Entry]:
        if not objects:
            return
        names, key = self._node.schema.names, self._node.keys[0]
        if self.topic.timestamp is None:
            times = [ms * 1_000 for ms in records.timestamps]
        else:
            times = self._times.of_values(objects).tolist()
        keys = self._keys.encode_columns([[getattr(value, key) for value in objects]])
        for bytes_, time, value in zip(keys, times, objects, strict=True):
            yield bytes_, _pack((time, *(getattr(value, name) for name in names)))

    def _removed(self, records: Records, row: int) -> bytes | None:
        key = records.keys[row]
        try:
            if key is None:
                raise ValueError("a null value without a key")
            return self._keys.encode(decode_message_key(key, self._type))
        except ValueError as problem:
            reason = f"it removes nothing: {problem}"
            self._dead.refuse(self._node.table, records, row, reason, on_error=self.topic.on_error)
            return None


class GlobalCopy:
    """One worker's copy of a global table, in a store of its own. It is also what the app's functions read."""

    def __init__(self, plan: Plan, node: GlobalTableNode, store: Store) -> None:
        topic = plan.nodes[node.topic]
        assert isinstance(topic, TopicNode)
        self.node, self.store = node, store
        self.parts = [f"{node.table}.{partition}" for partition in range(topic.partitions)]
        self.fingerprint = describe(plan, node.table).encode()
        (type_,) = key_types(node.schema, node.keys)
        self._struct, self._names = plan.types[node.topic], node.schema.names
        fields = {field.encode_name: field for field in msgspec.structs.fields(self._struct)}
        self._attributes = [fields[name].name for name in self._names]
        typed: Any = tuple.__class_getitem__((int, *(fields[name].type for name in self._names)))
        self._typed, self._plain = (
            msgspec.msgpack.Decoder(shape).decode
            for shape in (typed, row_shape(node.schema, column_types(plan, node.id), int))
        )
        self._codec, self._checked = KeyCodec((type_,)), KeyCheck(node.table, type_)
        self._rows: dict[bytes, Row | None] = {}
        self._objects: dict[bytes, Any] = {}

    def forget(self, keys: Sequence[bytes | None] | None = None) -> None:
        """Learn that rows have changed in the store: these, or any."""
        if keys is None or len(self._rows) + len(self._objects) > _CACHE:
            self._rows.clear()
            self._objects.clear()
            return
        for key in keys:
            self._rows.pop(key, None)  # type: ignore[arg-type]
            self._objects.pop(key, None)  # type: ignore[arg-type]

    def find(self, keys: list[bytes], times: Sequence[int | None] = ()) -> list[Row | None]:
        """Return the columns of rows by their keys, as they are now."""
        known = self._rows
        missing = [key for key in dict.fromkeys(keys) if key not in known]
        if missing:
            for key, value in zip(missing, self._stored(missing), strict=True):
                known[key] = None if value is None else self._plain(value)[1:]
        return [known[key] for key in keys]

    def _stored(self, keys: list[bytes]) -> list[bytes | None]:
        found = self.store.get_many(self.parts[0], keys)
        for part in self.parts[1:]:
            places = [place for place, value in enumerate(found) if value is None]
            more = self.store.get_many(part, [keys[place] for place in places]) if places else []
            for place, value in zip(places, more, strict=True):
                found[place] = value
        return found

    def entries(self, start: bytes = b"", end: bytes | None = None) -> Iterator[Entry]:
        """Iterate over the stored rows in key order, as they are at the first of them."""
        snapshot = self.store.snapshot()
        try:
            yield from heapq.merge(*(snapshot.scan(part, start, end) for part in self.parts))
        finally:
            snapshot.close()

    # What an agent sees

    def get(self, key: Any) -> Any:
        """Return the Record of a key; raises KeyError where there is none."""
        found = self.peek(key, _MISSING)
        if found is _MISSING:
            raise KeyError(key)
        return found

    def peek(self, key: Any, default: Any) -> Any:
        """Return the Record of a key, or `default`. Raises `AgentError` for a key of another type."""
        encoded = self._codec.encode(self._checked(key))
        found = self._objects.get(encoded, _MISSING)
        if found is _MISSING:
            (stored,) = self._stored([encoded])
            found = self._objects[encoded] = None if stored is None else self._object(stored)
        return default if found is None else found

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Iterate over keys and Records, in key order."""
        return ((self._codec.decode(key), self._object(value)) for key, value in self.entries())

    def members(self, group: Any) -> Iterator[tuple[Any, Any]]:
        raise TypeError(f"global table {self.node.table!r} has no groups")

    def set(self, key: Any, value: Any) -> None:
        raise TypeError(f"global table {self.node.table!r} takes no writes")

    def delete(self, key: Any) -> None:
        raise TypeError(f"global table {self.node.table!r} takes no writes")

    def _object(self, stored: bytes) -> Any:
        _, *values = self._typed(stored)
        return self._struct(**dict(zip(self._attributes, values, strict=True)))


Copies = Mapping[str, GlobalCopy]
"""A worker's copies of global tables, by table."""


def global_lookup(compiler: TaskCompiler, node: GlobalLookupNode) -> FrameStep:
    """Build a join of a stream with a global table."""
    copy, then = compiler.context.copies[node.table], compiler.fan(node.id)
    names = copy.node.schema.names
    places = [names.index(name) for name, _ in node.right_columns]
    added = {name for _, name in node.right_columns}
    on = compile_expr(node.on, schema_of_step(compiler.plan, node.input)).alias(_ON)

    def find(keys: list[bytes], times: Sequence[int | None], turns: Times) -> list[Row | None]:
        return [None if row is None else tuple(row[p] for p in places) for row in copy.find(keys)]

    def pass_on(frame: pl.DataFrame, batch: Batch) -> None:
        then(frame.drop(_ON), batch)

    joined = TableLookup(
        node.id,
        (_ON,),
        frame_schema(Schema(tuple(f for f in node.schema if f.name in added))),
        node.how == "inner",
        encoder=KeyCodec(key_types(copy.node.schema, copy.node.keys)),
        find=find,
        dead=compiler.dead,
        then=pass_on,
    )
    return lambda frame, batch: joined.process(frame.with_columns(on), batch)
