"""What stored bytes depend on: a descriptor per table, kept with its state and in its changelog, and the plan's hash.

A worker compares the descriptor of its plan with the stored one before it reads a row. Left out, because old rows
stay readable: filters, `emit`, `grace`, `retention`, the q of a quantile and its like, the functions of a fold, other
tables, agents and sinks.
The order of aggregates counts: a row stores them in declared order.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from dsl.plan.column_types import column_types
from dsl.plan.exprs import render
from dsl.plan.graph import Plan
from dsl.plan.nodes import (
    AggregateCall,
    AggregateNode,
    DedupeNode,
    GlobalTableNode,
    JoinNode,
    RepartitionNode,
    TableJoinNode,
    TableNode,
    TopicNode,
    TopicTableNode,
    fold_id,
    inputs_of,
)
from dsl.plan.shapes import Shape, both_shapes, shape_differences, shape_of
from dsl.plan.wire import node_to_builtins
from dsl.window import AnyWindow, FixedWindow

ENCODING = 1
"""The version of the stored form of rows and keys; raised when older bytes would be misread."""

_NOT_STORED = {("quantile", "q"), ("var", "ddof"), ("std", "ddof"), ("top_k", "k")}


class StoredAggregate(msgspec.Struct, frozen=True, kw_only=True):
    """One aggregate as stored: `kind` is its argument's, `options` are those that shape the accumulator."""

    name: str
    function: str
    argument: str = ""
    kind: str = ""
    by: str = ""
    by_kind: str = ""
    options: tuple[tuple[str, float], ...] = ()
    bounds: tuple[float, ...] = ()
    accumulator: str = ""

    def __str__(self) -> str:
        parts = [f"{self.argument}: {self.kind}"] if self.argument else []
        parts += [f"by={self.by}: {self.by_kind}"] if self.by else []
        parts += [f"{n}={v:g}" for n, v in self.options]
        parts += [f"bounds=[{', '.join(f'{b:g}' for b in self.bounds)}]"] if self.bounds else []
        parts += [self.accumulator] if self.accumulator else []
        return f"{self.function}({', '.join(parts)})"


class Descriptor(msgspec.Struct, frozen=True, kw_only=True):
    """What the stored bytes of one table depend on.

    `kind` is "aggregate", "regrouped" (aggregates of another table's rows), "dictionary", "set", "join", "dedupe" or
    such as "inner join of tables"; `keys` are names and kinds; `size` and `step` the window's, in microseconds, where
    they say all of its shape, else `cut` does; `placed` says what chose the partition of a row. `shape` has the
    fields of the classes that stored values are made of.
    """

    table: str
    kind: str
    keys: tuple[tuple[str, str], ...]
    size: int | None = None
    step: int | None = None
    cut: str = ""
    aggregates: tuple[StoredAggregate, ...] = ()
    value: str = ""
    shape: Shape = ()
    partitions: int
    placed: str = ""
    encoding: int = ENCODING

    def encode(self) -> bytes:
        """Return the descriptor as JSON, always the same bytes for the same descriptor."""
        return msgspec.json.encode(self)

    @staticmethod
    def decode(data: bytes) -> Descriptor:
        """Read what `encode` wrote; raises `ValueError` when the bytes are no descriptor."""
        try:
            return msgspec.json.decode(data, type=Descriptor)
        except msgspec.MsgspecError as problem:
            raise ValueError(f"these bytes are no table descriptor: {problem}") from problem

    @property
    def window(self) -> str:
        """The window's shape, such as `tumbling(1h)`, or "none"."""
        if self.size is None or self.step is None:
            return self.cut or "none"
        return FixedWindow(size=self.size, step=self.step).shape


def describe(plan: Plan, table: str) -> Descriptor:
    """Describe a table of a plan, or what a join or a dedupe keeps. Raises `KeyError` for an unknown name."""
    node = plan.stored_nodes()[table]
    held = next((s.partitions for s in plan.subtopologies if node.id in s.steps), 0)
    if isinstance(node, TableNode):
        return Descriptor(
            table=table,
            kind="set" if node.sets else "key timer" if node.timer else "dictionary",
            keys=(("key", node.key),),
            **_cut(node.window),
            value=node.value,
            shape=_shape(plan, node),
            partitions=held,
        )
    if isinstance(node, TopicTableNode):
        return Descriptor(
            table=table,
            kind="topic",
            keys=tuple((k, t.kind.value) for k, t in zip(node.keys, node.key_types, strict=True)),
            cut="" if node.history is None else "versioned",
            value=_columns(node),
            shape=_shape_of_columns(plan, node.id),
            partitions=held,
            placed=_placed(plan, node),
        )
    if isinstance(node, GlobalTableNode):
        # Never refused: what differs is read from the topic again.
        keys = tuple((k, t.kind.value) for k, t in zip(node.keys, node.key_types, strict=True))
        shape = shape_of(plan.types.get(node.topic))
        return Descriptor(table=table, kind="global", keys=keys, value=_columns(node), shape=shape, partitions=held)
    if isinstance(node, JoinNode):
        return Descriptor(
            table=table,
            kind="join",
            keys=tuple((k, t.kind.value) for k, t in zip(node.left_keys, node.key_types, strict=True)),
            cut=node.window if node.picks == "all" else f"{node.picks} {node.window}",
            value=" / ".join(_columns(plan.nodes[side]) for side in inputs_of(node)),
            shape=_shape_of_columns(plan, *inputs_of(node)),
            partitions=held,
            placed=_placed(plan, node),
        )
    if isinstance(node, DedupeNode):
        keys = tuple((k, t.kind.value) for k, t in zip(node.keys, node.key_types, strict=True))
        return Descriptor(table=table, kind="dedupe", keys=keys, partitions=held, placed=_placed(plan, node))
    if isinstance(node, TableJoinNode):
        sides = [describe(plan, side) for side in (node.left, node.right)]
        return Descriptor(
            table=table,
            kind=f"{node.how} join of tables" + (f" on {node.on}" if node.on else ""),
            keys=tuple((k, t.kind.value) for k, t in zip(node.keys, node.key_types, strict=True)),
            **_cut(node.window),
            value=" / ".join(f"{s.table}({', '.join(map(str, s.aggregates)) or s.value})" for s in sides),
            partitions=held,
            placed=_placed(plan, node),
        )
    return Descriptor(
        table=table,
        kind="regrouped" if node.retracts else "aggregate",
        keys=tuple((k, t.kind.value) for k, t in zip(node.keys, node.key_types, strict=True)),
        **_cut(node.window),
        aggregates=tuple(_stored(call) for call in node.aggregates),
        shape=_shape(plan, node),
        partitions=held,
        placed=_placed(plan, node),
    )


def differences(old: Descriptor, new: Descriptor) -> list[str]:
    """Say in words why rows stored under `old` cannot be read as `new`; an empty list when they can."""
    if old.encoding != new.encoding:
        return [f"the stored form was version {old.encoding}, is version {new.encoding}"]
    pairs = [
        ("kind", old.kind, new.kind),
        ("keys", _keys(old), _keys(new)),
        ("window", old.window, new.window),
        ("value type", old.value, new.value),
        ("number of partitions", str(old.partitions), str(new.partitions)),
        ("partition", old.placed, new.placed),
    ]
    found = [f"{what} was {was or 'none'}, is {now or 'none'}" for what, was, now in pairs if was != now]
    return found + _aggregate_differences(old, new) + shape_differences(old.shape, new.shape)


def kept_descriptor(old: Descriptor, new: Descriptor) -> Descriptor:
    """Return what to keep for a table that goes on: fields that its older rows may have stay noted."""
    shape = both_shapes(old.shape, new.shape)
    return old if shape == old.shape else msgspec.structs.replace(new, shape=shape)


def plan_hash(plan: Plan) -> str:
    """Return 12 hex digits that differ between different plans; only workers of one hash share tasks."""
    nodes = [node_to_builtins(plan.nodes[step]) for step in sorted(plan.nodes)]
    text = msgspec.json.encode([ENCODING, plan.app, nodes], order="sorted")
    return hashlib.sha256(text).hexdigest()[:12]


def _stored(call: AggregateCall) -> StoredAggregate:
    return StoredAggregate(
        name=call.name,
        function=call.function,
        argument="" if call.argument is None else render(call.argument),
        kind="" if call.argument_type is None else call.argument_type.kind.value,
        by="" if call.by is None else render(call.by),
        by_kind="" if call.by_type is None else call.by_type.kind.value,
        options=tuple((n, v) for n, v in call.options if (call.function, n) not in _NOT_STORED),
        bounds=call.bounds,
        accumulator=call.accumulator,
    )


def _shape(plan: Plan, node: TableNode | AggregateNode) -> Shape:
    """Return the fields of the classes in a dictionary's values, or in the accumulators of folds."""
    if isinstance(node, TableNode):
        return shape_of(getattr(plan.types.get(node.id), "value_type", None))
    shape: Shape = ()
    for call in node.aggregates:
        if call.step:
            shape = both_shapes(shape, shape_of(getattr(plan.types.get(fold_id(node.table, call.name)), "type", None)))
    return shape


def _shape_of_columns(plan: Plan, *steps: str) -> Shape:
    """Return the fields of the classes in the columns of some steps."""
    shape: Shape = ()
    for step in steps:
        for type_ in column_types(plan, step).values():
            shape = both_shapes(shape, shape_of(type_))
    return shape


def _cut(window: AnyWindow | None) -> dict[str, Any]:
    if isinstance(window, FixedWindow) and not window.offset and window.time == "event":
        return {"size": window.size, "step": window.step}
    return {} if window is None else {"cut": window.shape}


def _columns(node: Any) -> str:
    return ", ".join(f"{f.name}: {f.type.kind.value}" for f in node.schema)


def _placed(plan: Plan, node: AggregateNode | JoinNode | TableJoinNode | DedupeNode | TopicTableNode) -> str:
    above = plan.nodes[inputs_of(node)[0]]
    while not isinstance(above, RepartitionNode | TopicNode):
        above = plan.nodes[inputs_of(above)[0]]
    if isinstance(above, RepartitionNode):
        return f"chosen by group_by({', '.join(above.keys)})"
    by = f" by {above.partitioner}" if above.partitioner else ""
    return f"that of the input's key ({above.key}){by}"


def _keys(of: Descriptor) -> str:
    return ", ".join(f"{name}: {kind}" for name, kind in of.keys)


def _aggregate_differences(old: Descriptor, new: Descriptor) -> list[str]:
    before, after = ({a.name: a for a in d.aggregates} for d in (old, new))
    found = [f"aggregate {n} was {before[n]}, is gone" for n in before if n not in after]
    found += [f"aggregate {n} is new: {after[n]}" for n in after if n not in before]
    found += [f"aggregate {n} was {before[n]}, is {after[n]}" for n in before if n in after and before[n] != after[n]]
    if not found and list(before) != list(after):
        found.append(f"the order of aggregates was {', '.join(before)}, is {', '.join(after)}")
    return found
