"""From a key that a person wrote to its stored bytes, and to the partition that has it where that follows from the key.

It follows where the table's input is a repartition, which is written by murmur2 of the stored bytes; or where the
table is grouped by the key of a topic that is declared `partitioned_by="murmur2"`. A topic written by others may be
partitioned in any way, and agents write a dictionary under any key: there, all partitions are asked.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import msgspec

from dsl.errors import nearest
from dsl.plan.exprs import Column
from dsl.plan.graph import Plan
from dsl.plan.nodes import (
    DeclaredTable,
    GlobalTableNode,
    Node,
    ProjectNode,
    RepartitionNode,
    TableNode,
    TopicNode,
    inputs_of,
)
from dsl.plan.types import Kind
from dsl.table import AgentTable
from flows.compile.tables import keys_of
from flows.compile.values import PYTHON_TYPES
from flows.decode.message_keys import encode_message_key
from flows.errors import UsageError
from flows.route.partitioner import Partitioner
from flows.state.keys import KeyCodec

_WRITTEN = {Kind.DATETIME: dt.datetime, Kind.DATE: dt.date}
"""Kinds whose stored keys take any type: what their text is read as."""


class KeyLookup:
    """Read the keys of one table."""

    def __init__(self, plan: Plan, table: str) -> None:
        node = plan.table_nodes()[table]
        self._table = table
        self._names = keys_of(node)
        self._types = _types(plan, node)
        self._codec = KeyCodec(self._types)
        self._source = _source(plan, node)
        partitions = 1 if self._source is None else self._source.partitions
        self._partitioner = Partitioner(partitions)

    def read(self, texts: Mapping[str, str]) -> tuple[bytes, int | None]:
        """Return a key's bytes, without window, and its partition (None: any). Raises `UsageError`."""
        for name in texts:
            if name not in self._names:
                close = nearest(name, self._names)
                fix = f"did you mean {close!r}?" if close else f"its key: {', '.join(self._names)}"
                raise UsageError(f"table {self._table!r} has no key column {name!r}", fix=fix)
        values = [self._value(name, type_, texts) for name, type_ in zip(self._names, self._types, strict=True)]
        key = self._codec.encode(values[0] if len(values) == 1 else tuple(values))
        if self._source is None:
            return key, None
        if isinstance(self._source, RepartitionNode):
            return key, self._partitioner.of(key)
        message_key = encode_message_key(values[self._names.index(str(self._source.key))])
        return key, None if message_key is None else self._partitioner.of(message_key)

    def _value(self, name: str, type_: Any, texts: Mapping[str, str]) -> Any:
        if name not in texts:
            raise UsageError(f"the key column {name!r} is not given", fix=f"give {' and '.join(self._names)}")
        text = texts[name]
        if type_ is str:
            return text
        try:
            if type_ is bytes:
                return text.encode()
            if type_ is object or getattr(type_, "__origin__", type_) is tuple:
                return msgspec.json.decode(text, type=type_ if type_ is not object else Any)
            return msgspec.convert(text, type_, strict=False)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise UsageError(f"{name}={text!r} is no key of table {self._table!r}: {error}") from None


def _types(plan: Plan, node: DeclaredTable | TableNode) -> tuple[Any, ...]:
    if isinstance(node, DeclaredTable):
        kinds = {field.name: field.type.kind for field in node.schema}
        return tuple(PYTHON_TYPES.get(kinds[name], _WRITTEN.get(kinds[name], object)) for name in node.keys)
    declared = plan.types.get(node.id)
    if not isinstance(declared, AgentTable):
        return (object,) * len(keys_of(node))
    return (declared.key_type, declared.value_type) if node.sets else (declared.key_type,)


def _source(plan: Plan, node: DeclaredTable | TableNode) -> TopicNode | RepartitionNode | None:
    """Return what decides in which partition a key is; None where nothing does."""
    if isinstance(node, TableNode | GlobalTableNode):
        return None
    step: Node = node
    renamed: set[str] = set()
    while not isinstance(step, TopicNode | RepartitionNode):
        step = plan.nodes[inputs_of(step)[0]]
        if isinstance(step, ProjectNode):
            renamed |= {name for name, value in step.columns if value != Column(name)}
    if isinstance(step, RepartitionNode):
        return step if step.keys == node.keys else None
    keyed = step.key in node.keys and step.key not in renamed
    return step if keyed and step.partitioned_by == "murmur2" else None
