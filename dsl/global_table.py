"""Global tables: a topic as a table that every worker has all of, read by agents and joined by any key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from dsl.checks import check_one_of
from dsl.context import TableAccess, current
from dsl.durations import show
from dsl.errors import DeclarationError
from dsl.expr import Expr
from dsl.joined import short_name
from dsl.plan.exprs import Column, render
from dsl.plan.functions import type_of, unknown_column
from dsl.plan.nodes import GlobalLookupNode, GlobalTableNode
from dsl.plan.types import Field, Schema
from dsl.topic import Topic

if TYPE_CHECKING:
    from dsl.app import App
    from dsl.stream import Stream

_MISSING = object()


class GlobalTable:
    """A topic as a table, whole on every worker: of each key the latest value that this worker has read.

    `table[key]` is the topic's Record, wherever the app's functions run: agents, timers, tasks, pages. Nobody writes to
    it but by its topic.

    >>> import flows
    >>> class Rate(flows.Record):
    ...     currency: str
    ...     euros: float
    >>> app = flows.App("shop")
    >>> app.global_table("rates", app.topic("rates-topic", value=Rate, key="currency"))
    <GlobalTable rates>
    """

    def __init__(self, app: App, name: str, topic: Topic, schema: Schema, key: str) -> None:
        self.app, self.name, self.topic, self.schema, self.key = app, name, topic, schema, key

    def __repr__(self) -> str:
        return f"<GlobalTable {self.name}>"

    def _here(self) -> TableAccess:
        found = current.get(None)
        if found is None or self.name not in found.tables:
            raise RuntimeError(
                f"global table {self.name!r} can be read by the functions of a running worker only; "
                "from outside, read it by `flows query` or the web API"
            )
        return found.tables[self.name]

    def __getitem__(self, key: Any) -> Any:
        """Return the Record of a key; raises KeyError where there is none."""
        return self._here().get(key)

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the Record of a key, or `default` where there is none."""
        return self._here().peek(key, default)

    def __contains__(self, key: object) -> bool:
        return self.get(key, _MISSING) is not _MISSING

    def __iter__(self) -> Iterator[Any]:
        return (key for key, _ in self.items())

    def __len__(self) -> int:
        """Count all keys, by going through them."""
        return sum(1 for _ in self.items())

    def keys(self) -> Iterator[Any]:
        """Iterate over all keys; within a partition of the topic in key order."""
        return iter(self)

    def values(self) -> Iterator[Any]:
        """Iterate over all Records, in the order of their keys."""
        return (value for _, value in self.items())

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Iterate over all keys and Records, as they are at the first of them."""
        return self._here().items()

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        self._refuse(f"await {self.topic.name}.send(value, key={key!r})")

    def __delitem__(self, key: Any) -> NoReturn:
        self._refuse(f"await {self.topic.name}.send(None, key={key!r})")

    def _refuse(self, instead: str) -> NoReturn:
        raise RuntimeError(
            f"global table {self.name!r} is what topic {self.topic.name!r} says: write to the topic, {instead}; "
            "inside an agent it leaves with the task's commit"
        )


def global_table(app: App, name: str, topic: Any) -> GlobalTable:
    """Add a global table to the plan."""
    doing = f"app.global_table({name!r})"
    if topic is None:
        raise DeclarationError(
            f"{doing} needs the topic that it is a table of: app.global_table({name!r}, topic). Agents write it by "
            "sending to the topic; what each task keeps for itself is app.table(...)."
        )
    if not isinstance(topic, Topic):
        raise DeclarationError(f"{doing} is a table of a topic made by app.topic(...), not of {topic!r}.")
    app._own_topic(topic, doing)
    schema, key, kept = topic._columns(f"global_table({name!r})"), topic.node.key, topic.node.retention
    if key is None:
        raise DeclarationError(
            f'{doing} needs to know which field of {topic.name} the key is: app.topic({topic.name!r}, key="…").'
        )
    if kept is not None and not topic.node.any_retention:
        raise DeclarationError(
            f"{doing}: topic {topic.name!r} forgets its records after {show(kept)}, so a worker that starts later "
            "would lack rows that the others have: declare it with retention=None, or leave retention out for a topic "
            "that keeps the last record of each key."
        )
    found = schema.get(key)
    assert found is not None
    app._claim_table(name)
    node = GlobalTableNode(id=name, topic=topic.step, table=name, keys=(key,), key_types=(found,), schema=schema)
    app._add(node)
    return GlobalTable(app, name, topic, schema, key)


def global_join(
    stream: Stream, table: GlobalTable, on: Any, how: str, options: dict[str, Any], prefix: str, suffix: str, name: Any
) -> Stream:
    """Add a join of a stream with a global table to the plan: no record moves for it."""
    from dsl.stream import Stream

    app, doing = stream.app, f"{stream.step}.join({table.name})"
    if table.app is not app:
        raise DeclarationError(f"{doing}: table {table.name!r} belongs to app {table.app.id!r}, not to {app.id!r}.")
    check_one_of(f"{doing}: how", how, ("inner", "left"))
    for option, value in options.items():
        if value is not None:
            raise DeclarationError(
                f"{doing}: {option}= means nothing for a global table, which is whole where the stream's records are."
            )
    schema = stream._columns(f"join({table.name})")
    key = _key(stream, table, on, schema, doing)
    fields, columns = list(schema), []
    for field in table.schema:
        if field.name == table.key:
            continue
        shown = f"{prefix}{field.name}{suffix}" if field.name in schema else field.name
        if any(shown == f.name for f in fields):
            raise DeclarationError(
                f"{doing}: both sides have a column {field.name!r}: rename the global table's with "
                f'suffix="_{short_name(table.name)}", or leave the stream\'s out with select(...).'
            )
        fields.append(Field(shown, field.type.as_nullable(field.type.nullable or how == "left")))
        columns.append((field.name, shown))
    step = app._new_step(name or f"{stream.step}.join.{table.name}", numbered=name is None)
    result = Schema(tuple(fields), step)
    app._add(
        GlobalLookupNode(
            id=step, input=stream.step, table=table.name, on=key, how=how, right_columns=tuple(columns), schema=result
        )
    )
    return Stream(app, step, result, stream.key)


def _key(stream: Stream, table: GlobalTable, on: Any, schema: Schema, doing: str) -> Any:
    """Return the expression that names the row, checked against the table's key."""
    if on is None and table.key not in schema:
        raise DeclarationError(
            f"{doing}: {stream.step} has no column {table.key}, the table's key: say which column or expression is, "
            'on="…" or on=col("…").'
        )
    if isinstance(on, tuple):
        raise DeclarationError(f"{doing}: the key of {table.name} is {table.key} alone; on={on!r} must match it.")
    if isinstance(on, str) and on not in schema:
        raise unknown_column(on, schema)
    key = on.node if isinstance(on, Expr) else Column(table.key if on is None else on)
    found, wanted = type_of(key, schema), table.schema.get(table.key)
    if wanted is None or found.kind is not wanted.kind:
        raise DeclarationError(f"{doing}: {render(key)} is {found.kind}, but the key of {table.name} is {wanted}.")
    return key
