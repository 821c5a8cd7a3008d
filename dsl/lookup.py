"""Joins of a stream with a table, as declared."""

from __future__ import annotations

from typing import Any

from dsl.checks import check_one_of
from dsl.errors import DeclarationError
from dsl.join import Names
from dsl.joined import short_name
from dsl.placing import place_of
from dsl.plan.functions import unknown_column
from dsl.plan.nodes import AggregateNode, LookupNode, RepartitionNode, TableJoinNode, TopicTableNode, inputs_of
from dsl.plan.types import Field, Schema
from dsl.stream import Stream
from dsl.table import Table


def table_join(
    stream: Stream,
    table: Table,
    on: Names | None,
    how: str,
    window: dict[str, Any],
    prefix: str,
    suffix: str,
    partitions: int | None,
    name: str | None,
) -> Stream:
    """Add a join of a stream with a table to the plan."""
    app, doing = stream.app, f"{stream.step}.join({table.name})"
    if table.app is not app:
        raise DeclarationError(f"{doing}: table {table.name!r} belongs to app {table.app.id!r}, not to {app.id!r}.")
    schema = stream._columns(f"join({table.name})")
    check_one_of(f"{doing}: how", how, ("inner", "left"))
    for option, value in window.items():
        if value is not None:
            raise DeclarationError(f"{doing}: {option}= is for joins of two streams; a table has one row for each key.")
    _check_table(table, doing)
    keys = _keys(stream, table, on, schema, doing)
    fields, columns = list(schema), []
    for field in table.schema:
        if field.name in table.keys:
            continue
        shown = f"{prefix}{field.name}{suffix}" if field.name in schema else field.name
        if any(shown == f.name for f in fields):
            raise DeclarationError(
                f"{doing}: both sides have a column {field.name!r}: rename the table's with "
                f'suffix="_{short_name(table.name)}", or leave the stream\'s out with select(...).'
            )
        fields.append(Field(shown, field.type.as_nullable(field.type.nullable or how == "left")))
        columns.append((field.name, shown))
    step = app._new_step(name or f"{stream.step}.join.{table.name}", numbered=name is None)
    source = _to_the_table(stream, table, keys, step, partitions, doing)
    result = Schema(tuple(fields), step)
    app._add(
        LookupNode(
            id=step,
            left=source,
            right=table.name,
            left_keys=keys,
            how=how,
            right_columns=tuple(columns),
            schema=result,
        )
    )
    moved = source != stream.step
    return Stream(app, step, result, (keys[0] if len(keys) == 1 else None) if moved else stream.key)


def _check_table(table: Table, doing: str) -> None:
    node = table.app._nodes[table.name]
    if table.window is not None:
        raise DeclarationError(
            f"{doing}: table {table.name!r} has a row for each key and window, so which one is meant? Join a table "
            "without windows."
        )
    if isinstance(node, TableJoinNode) or (isinstance(node, AggregateNode) and node.retracts):
        raise DeclarationError(
            f"{doing}: table {table.name!r} is made of other tables, whose rows it takes when commits are made, not in "
            "the order of records: join with those."
        )


def _keys(stream: Stream, table: Table, on: Names | None, schema: Schema, doing: str) -> tuple[str, ...]:
    keys = table.keys if on is None else (on,) if isinstance(on, str) else tuple(on)
    if on is None and any(key not in schema for key in keys):
        raise DeclarationError(
            f"{doing}: {stream.step} has no column {', '.join(k for k in keys if k not in schema)}, the table's key: "
            'say which of its columns is, on="…".'
        )
    if len(keys) != len(table.keys):
        raise DeclarationError(f"{doing}: the key of {table.name} is {', '.join(table.keys)}; on={on!r} must match it.")
    for key, other in zip(keys, table.keys, strict=True):
        found, wanted = schema.get(key), table.schema.get(other)
        if found is None:
            raise unknown_column(key, schema)
        if wanted is None or found.kind is not wanted.kind:
            raise DeclarationError(f"{doing}: {key!r} is {found.kind}, the key {other!r} of {table.name} is {wanted}.")
    return keys


def _to_the_table(
    stream: Stream, table: Table, keys: tuple[str, ...], step: str, partitions: int | None, doing: str
) -> str:
    """Return the step to read: the stream, or what brings it into the tasks that hold the table's rows."""
    app = stream.app
    count = app._partitions_before(table.name)
    if partitions not in (None, count):
        raise DeclarationError(f"{doing}: table {table.name!r} has {count} partitions; partitions={partitions}.")
    place = place_of(app, table.name)
    pairs = dict(zip(table.keys, keys, strict=True))
    if app._partitions_before(stream.step) == count and (
        count == 1
        or (
            stream.key is not None
            and table._placed_by is not None
            and pairs.get(table._placed_by) == stream.key
            and place_of(app, stream.step) == place
        )
    ):
        return stream.step
    node = app._nodes[table.name]
    while not isinstance(node, RepartitionNode) and isinstance(node, AggregateNode | TopicTableNode):
        node = app._nodes[inputs_of(node)[0]]
    by = node.keys if isinstance(node, RepartitionNode) else (table._placed_by,)
    if place[0] not in ("key", "keys", "message key") or any(k not in pairs for k in by if k is not None):
        raise DeclarationError(
            f"{doing}: the records of {stream.step} must come to the {count} partitions of {table.name!r}, but how "
            'these were chosen is not known: declare its topic with partitioned_by="murmur2", where its producers use '
            "the Java client's partitioner, or give both the same key and partitions."
        )
    moved = app._new_step(f"{step}.left")
    app._add(
        RepartitionNode(
            id=moved,
            input=stream.step,
            topic=f"{app.id}-{step}-repartition",
            keys=tuple(pairs[k] for k in by if k is not None),
            partitions=count,
            by_message_key=place[0] == "message key",
            schema=stream._columns("join"),
        )
    )
    return moved
