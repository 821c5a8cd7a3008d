"""Joins of tables as declared: rows of one key, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.changes import SIGNED
from dsl.checks import check_one_of
from dsl.errors import DeclarationError
from dsl.joined import HOW
from dsl.placing import place_of
from dsl.plan.functions import unknown_column
from dsl.plan.nodes import AnswerNode, ChangesNode, RepartitionNode, TableJoinNode, TopicNode, inputs_of
from dsl.plan.types import DataType, Field, Kind, Schema
from dsl.window import CountWindow

if TYPE_CHECKING:
    from dsl.global_table import GlobalTable
    from dsl.table import Table


def table_join(left: Table, right: Table | GlobalTable, how: str, prefix: str, suffix: str, name: str | None) -> Table:
    """Add a join of two tables by their keys to the plan."""
    from dsl.global_table import GlobalTable
    from dsl.table import Table

    doing = f"{left.name}.join({getattr(right, 'name', right)})"
    if isinstance(right, GlobalTable):
        raise DeclarationError(
            f"{doing}: a global table is joined with streams, not with tables: join the stream before."
        )
    if not isinstance(right, Table):
        raise DeclarationError(f"{doing}: joins a declared table, not {right!r}.")
    app, name = left.app, name or f"{left.name}_{right.name}"
    if right.app is not app:
        raise DeclarationError(f"{doing}: {right.name!r} belongs to app {right.app.id!r}, not to {app.id!r}.")
    check_one_of(f"{doing}: how", how, HOW)
    _check_keys(left, right, doing)
    _check_windows(left, right, doing)
    _check_places(left, right, doing)
    fields, columns = _result(left, right, how, prefix, suffix, doing)
    app._claim_table(name)
    types = tuple(t for key in left.keys if (t := left.schema.get(key)) is not None)
    app._add(
        TableJoinNode(
            id=name,
            left=left.name,
            right=right.name,
            table=name,
            how=how,
            keys=left.keys,
            key_types=types,
            window=left.window,
            right_columns=columns,
            schema=Schema(fields, name),
        )
    )
    return Table(app, name, Schema(fields, name), left.keys, left.window, left._placed_by)


def foreign_join(left: Table, right: Table, on: str, how: str, prefix: str, suffix: str, name: str | None) -> Table:
    """Add a join of two tables by a column of the left one to the plan."""
    from dsl.table import Table

    doing = f"{left.name}.join({getattr(right, 'name', right)}, on={on!r})"
    if not isinstance(right, Table) or right.app is not left.app:
        raise DeclarationError(f"{doing}: joins a declared table of the same app, not {right!r}.")
    app, name = left.app, name or f"{left.name}_{right.name}"
    check_one_of(f"{doing}: how", how, HOW[:2])
    found = left.schema.get(on)
    if found is None:
        raise unknown_column(on, left.schema)
    kinds = [t.kind for key in right.keys if (t := right.schema.get(key)) is not None]
    if kinds != [found.kind]:
        told = ", ".join(f"{key}: {right.schema.get(key)}" for key in right.keys)
        raise DeclarationError(f"{doing}: {on!r} is {found}, but the key of {right.name} is ({told}).")
    if left.window is not None or right.window is not None:
        raise DeclarationError(f"{doing}: tables with windows are joined by their keys only.")
    counts = [app._partitions_before(table.name) for table in (left, right)]
    by_message_key = place_of(app, right.name) == ("message key", "murmur2") and right._placed_by is not None
    if counts[1] > 1 and _table_place(right) != ("group_by", "group_by") and not by_message_key:
        raise DeclarationError(
            f"{doing}: which partition has a row of {right.name} is up to the key of its topic: let it pass an "
            f'internal topic, which a copy of the key does, .with_columns(by=col("{right.keys[0]}")).group_by("by"), '
            'or declare the topic partitioned_by="murmur2" where it is.'
        )
    fields, columns = _result(left, right, how, prefix, suffix, doing)
    app._claim_table(name)
    raw, number = DataType(Kind.BYTES), DataType(Kind.INT)
    asks = Schema((Field(on, found), Field("$key", raw), Field("$hash", raw), SIGNED), f"{name}.asks")
    answers = [Field("$key", raw), Field("$home", number), Field("$hash", raw), Field("$state", raw.as_nullable())]
    schema = Schema(tuple(answers), f"{name}.answers")
    steps = [app._new_step(f"{name}.{step}") for step in ("asks", "asked", "answers", "answered")]
    topics = [f"{app.id}-{name}-{step}-repartition" for step in ("asks", "answers")]
    app._add(ChangesNode(id=steps[0], input=left.name, table=left.name, retract=True, asks=name, schema=asks))
    app._add(
        RepartitionNode(
            id=steps[1],
            input=steps[0],
            topic=topics[0],
            keys=(on,),
            partitions=counts[1],
            by_message_key=by_message_key,
            schema=asks,
        )
    )
    app._add(AnswerNode(id=steps[2], input=steps[1], table=right.name, owner=name, on=on, schema=schema))
    app._add(
        RepartitionNode(
            id=steps[3], input=steps[2], topic=topics[1], keys=("$key",), partitions=counts[0], schema=schema
        )
    )
    app._add(
        TableJoinNode(
            id=name,
            left=left.name,
            right=right.name,
            table=name,
            how=how,
            keys=left.keys,
            key_types=tuple(t for key in left.keys if (t := left.schema.get(key)) is not None),
            window=None,
            right_columns=columns,
            on=on,
            answers=steps[3],
            schema=Schema(fields, name),
        )
    )
    return Table(app, name, Schema(fields, name), left.keys, None, left._placed_by)


def _check_keys(left: Table, right: Table, doing: str) -> None:
    kinds = [tuple(t.kind for k in table.keys if (t := table.schema.get(k))) for table in (left, right)]
    if kinds[0] != kinds[1]:
        told = [", ".join(f"{k}: {table.schema.get(k)}" for k in table.keys) for table in (left, right)]
        raise DeclarationError(
            f"{doing}: the key of {left.name} is ({told[0]}), that of {right.name} ({told[1]}): tables are joined by "
            "their keys. Group one of them by what the other is grouped by."
        )


def _check_windows(left: Table, right: Table, doing: str) -> None:
    shapes = [None if table.window is None else table.window.shape for table in (left, right)]
    if shapes[0] != shapes[1] or isinstance(left.window, CountWindow):
        told = " and ".join(shape or "no windows" for shape in shapes)
        raise DeclarationError(
            f"{doing}: rows of {told} do not meet: give both tables the same windows of time, or none."
        )


def _check_places(left: Table, right: Table, doing: str) -> None:
    """Check that rows of equal keys lie in the same task."""
    app = left.app
    counts = [app._partitions_before(table.name) for table in (left, right)]
    if counts == [1, 1]:
        return
    if counts[0] != counts[1]:
        raise DeclarationError(
            f"{doing}: {left.name} has {counts[0]} partitions, {right.name} {counts[1]}: tables that are joined need "
            "as many, group_by(…, partitions=n)."
        )
    places = [_table_place(table) for table in (left, right)]
    if places[0][1:] != places[1][1:]:
        raise DeclarationError(
            f"{doing}: equal keys of {left.name} and {right.name} lie in different partitions, one by "
            f"{places[0][0]}, the other by {places[1][0]}: let both pass an internal topic, which a copy of "
            f'the key does, .with_columns(by=col("{left.keys[0]}")).group_by("by").'
        )


def _table_place(table: Table) -> tuple[str, ...]:
    """Say what chose the partition of a table's rows: equal for equal choices by equal keys."""
    nodes = table.app._nodes
    node = nodes[table.name]
    while not isinstance(node, TopicNode | RepartitionNode):
        node = nodes[inputs_of(node)[0]]
    if isinstance(node, RepartitionNode):
        return ("group_by", "group_by") if node.keys == table.keys else ("group_by of other columns", node.id)
    keyed = table.keys.index(table._placed_by) if table._placed_by in table.keys else -1
    return (f"the key of {node.id}", *place_of(table.app, table.name), str(keyed))


def _result(
    left: Table, right: Table, how: str, prefix: str, suffix: str, doing: str
) -> tuple[tuple[Field, ...], tuple[tuple[str, str], ...]]:
    """Return the columns of the result, and the right side's with their new names."""
    shown = {*left.keys, *(left.window.columns if left.window else ())}
    fields = [f if f.name in shown or how != "outer" else Field(f.name, f.type.as_nullable()) for f in left.schema]
    columns = []
    skipped = {*right.keys, *(right.window.columns if right.window else ())}
    for field in right.schema:
        if field.name in skipped:
            continue
        name = f"{prefix}{field.name}{suffix}" if field.name in left.schema else field.name
        if any(name == f.name for f in fields):
            raise DeclarationError(
                f'{doing}: both tables have a column {name!r}: rename the right one with suffix="_{right.name}".'
            )
        fields.append(Field(name, field.type if how == "inner" else field.type.as_nullable()))
        columns.append((field.name, name))
    return tuple(fields), tuple(columns)
