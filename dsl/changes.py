"""What changes in a table, as a stream: how it is declared, and what cannot be computed of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsl.checks import check_one_of
from dsl.durations import Duration, microseconds
from dsl.errors import DeclarationError
from dsl.plan.nodes import AggregateNode, ChangesNode, RepartitionNode, TableJoinNode, TopicNode, inputs_of
from dsl.plan.types import DataType, Field, Kind, Schema
from dsl.window import AnyWindow, CountWindow

if TYPE_CHECKING:
    from dsl.aggregate import Aggregate
    from dsl.grouped import Aggregated, Grouped
    from dsl.stream import Stream
    from dsl.table import Table

REMOVED, SIGN = "removed", "$sign"
"""The column that tells a removed row; the one that says whether a row is added (1) or subtracted (-1)."""

SIGNED = Field(SIGN, DataType(Kind.INT))

SUBTRACTED = ("count", "sum", "mean", "var", "std")
"""Aggregates that can be told that a row is gone."""

_IDEMPOTENT = ("min", "max", "first", "last", "arg_min", "arg_max", "approx_distinct")
"""Aggregates to which a row that comes twice, or not at all before the next of its key, makes no difference."""


def changes_of(table: Table, *, removals: bool, emit: str, emit_every: Duration | None) -> Stream:
    """Add the step that makes a stream of a table's changes."""
    from dsl.stream import Stream

    fields = tuple(table.schema)
    every = None if emit_every is None else microseconds(emit_every, f"{table.name}.changes: emit_every")
    if every is not None and every <= 0:
        raise DeclarationError(f"{table.name}.changes: emit_every must be longer than nothing, not {emit_every!r}.")
    _check_emit(table, emit, emit_every)
    if removals:
        if REMOVED in table.schema:
            raise DeclarationError(
                f"{table.name}.changes(removals=True) adds the column {REMOVED!r}, but the table has one already: "
                "name it otherwise."
            )
        kept = {*table.keys, *(table.window.columns if table.window else ())}
        fields = tuple(f if f.name in kept else Field(f.name, f.type.as_nullable()) for f in fields)
        fields = (*fields, Field(REMOVED, DataType(Kind.BOOL)))
    step = table.app._new_step(f"{table.name}.changes")
    schema = Schema(fields, f"{table.name}.changes")
    table.app._add(
        ChangesNode(
            id=step,
            input=table.name,
            table=table.name,
            removals=removals,
            each=emit == "every",
            every=every,
            schema=schema,
        )
    )
    return Stream(table.app, step, schema, table._placed_by)


def _check_emit(table: Table, emit: str, emit_every: Duration | None) -> None:
    """Check that a table can tell each of its changes, where that is wanted."""
    doing = f'{table.name}.changes(emit="every")'
    check_one_of(f"{table.name}.changes: emit", emit, ("change", "every"))
    if emit == "change":
        return
    node = table.app._nodes[table.name]
    if not isinstance(node, AggregateNode) or node.retracts:
        raise DeclarationError(
            f"{doing}: what changes in it are rows of other tables, which commits tell: no record makes each of them."
        )
    if emit_every is not None:
        raise DeclarationError(f"{doing} with emit_every={emit_every!r}: either each change is told, or few are.")
    if node.window is not None and node.window.emit == "close":
        raise DeclarationError(f'{doing}: windows with emit="close" tell each row once; leave out emit="every".')


def rows_of(table: Table) -> Stream:
    """Return a table's rows as they go and come; `add_rows` adds the step, once it is known for which table."""
    from dsl.stream import Stream

    return Stream(table.app, table.name, table.schema, table._placed_by)


def add_rows(table: Table, name: str) -> str:
    """Add the step of `rows_of` for the table of this name: under another it is told of all rows from the beginning."""
    step = table.app._new_step(f"{name}.rows")
    schema = Schema((*table.schema, SIGNED), step)
    table.app._add(ChangesNode(id=step, input=table.name, table=table.name, retract=True, schema=schema))
    return step


class Regrouped:
    """A table's rows with another key to aggregate by."""

    def __init__(self, table: Table, grouped: Grouped) -> None:
        self._table, self._grouped = table, grouped

    def agg(self, **aggregates: Aggregate) -> Aggregated:
        """Keep aggregates of the rows that each group has now: `count sum mean var std`."""
        from dsl.aggregate import Aggregate
        from dsl.grouped import Aggregated

        for name, aggregate in aggregates.items():
            if isinstance(aggregate, Aggregate) and aggregate.function not in SUBTRACTED:
                raise DeclarationError(
                    f"{name}={aggregate.function}(…) over the rows of table {self._table.name!r}: when a row changes, "
                    f"what it was must be subtracted, which {aggregate.function} cannot: use {', '.join(SUBTRACTED)}, "
                    f"or aggregate what came rather than what is, by {self._table.name}.changes().group_by(…)."
                )
        return Aggregated(self._grouped, None, aggregates, rows_of=self._table)


def check_changes(stream: Stream, window: AnyWindow | None, aggregates: dict[str, Any]) -> None:
    """Refuse what would depend on commits: how many changes a table tells of, where its rows are not final.

    A table with `emit="close"` tells of each row once.
    """
    source = _changing(stream)
    if source is None:
        return
    ways = f'take {source.table}.changes(emit="every"), or give it windows with emit="close", which tell each row once'
    if window is not None and not _is_final(source, of_time=True):
        raise DeclarationError(
            f"a window over the changes of {source.table!r} would hold what commits happened to tell: {ways}."
        )
    for name, aggregate in aggregates.items():
        if not _is_final(source) and aggregate.function not in _IDEMPOTENT:
            raise DeclarationError(
                f"{name}={aggregate.function}(…) over the changes of {source.table!r} would count a row as often as "
                f"commits tell it: {ways}, or aggregate its rows as they are, by {source.table}.group_by(…)."
            )


def refuse_changes(stream: Stream, doing: str) -> None:
    """Refuse to take changes of a table for what goes by time: they come at commits."""
    found = _changing(stream, commits=True)
    if found is not None:
        raise DeclarationError(
            f"{doing}: {stream.step} is what commits change in {found.table!r}, which has no order with other records: "
            "write it to a topic and take that, .changes().through(topic)."
        )


def _changing(stream: Stream, *, commits: bool = False) -> AggregateNode | TableJoinNode | None:
    """Return the table whose changes a stream is made of, as commits happen to tell them; None for one made of records.

    With `commits` also the table that tells all changes: it does so at commits.
    """
    nodes = stream.app._nodes
    node = nodes[stream.step]
    while not isinstance(node, TopicNode | RepartitionNode | ChangesNode):
        node = nodes[inputs_of(node)[0]]
    found = nodes[node.table] if isinstance(node, ChangesNode) and (not node.each or commits) else None
    return found if isinstance(found, AggregateNode | TableJoinNode) else None


def _is_final(table: AggregateNode | TableJoinNode, *, of_time: bool = False) -> bool:
    """Tell whether a table tells each row once; with `of_time`, in the order of time too."""
    window = table.window
    if window is None or window.emit != "close" or isinstance(table, TableJoinNode):
        return False
    return not (of_time and isinstance(window, CountWindow))
