"""From the stored bytes of a table to its rows: the one place that knows keys, aggregate states and agents' values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
import polars as pl

from dsl.fold import Fold
from dsl.plan.column_types import column_types
from dsl.plan.graph import Plan
from dsl.plan.nodes import (
    AggregateNode,
    DeclaredTable,
    GlobalTableNode,
    TableJoinNode,
    TableNode,
    TopicTableNode,
    fold_id,
)
from dsl.plan.types import Kind
from dsl.table import AgentTable
from dsl.window import CountWindow
from flows.compile.terms import frame_schema
from flows.compile.values import row_shape
from flows.compile.windows import END, Bounds, bounds_of, numbers_of, seconds, start_place
from flows.operate.aggregates import Aggregation
from flows.operate.base import TIME
from flows.operate.exact import ExactAggregation
from flows.operate.table_join import JoinedResults
from flows.query.base import Row, TableInfo
from flows.query.columns import column
from flows.query.rows import Entry
from flows.state.base import OPEN
from flows.state.keys import KeyCodec

_SECOND = 1_000_000


def folds_of(plan: Plan, node: AggregateNode) -> dict[str, Fold]:
    """Return the functions of a table's folds by name, as far as the plan knows them: a stored one does not."""
    found = {call.name: plan.types.get(fold_id(node.table, call.name)) for call in node.aggregates if call.step}
    return {name: fold for name, fold in found.items() if isinstance(fold, Fold)}


class TableDecoder:
    """Decode the rows of one table of a plan.

    Structs in them come out as their declared type where the plan knows it, else as plain dicts and lists.
    """

    def __init__(self, plan: Plan, table: str) -> None:
        node = plan.table_nodes()[table]
        self.info = _info(plan, node)
        self._schema = node.schema
        self._bounds: Bounds | None = None
        self._waits = self._ends_in_state = False
        self._value: Callable[[bytes], Any] | None = None
        self._results: Callable[[Sequence[bytes]], pl.DataFrame] | None = None
        if isinstance(node, AggregateNode):
            self._waits = node.window is not None and node.window.emit == "close"
            self._codec = KeyCodec((object,) * len(node.keys), numbers_of(node.window))
            self._start = start_place(node.window)
            self._ends_in_state = isinstance(node.window, CountWindow)
            self._bounds = None if node.window is None else bounds_of(node.window, self._codec)
            self._names = [c.name for c in node.aggregates]
            exact = ExactAggregation(node.aggregates) if node.retracts else None
            self._results = (exact or Aggregation(node.aggregates, folds_of(plan, node))).results
        elif isinstance(node, TableJoinNode):
            self._codec = KeyCodec((object,) * len(node.keys), numbers_of(node.window))
            self._start = start_place(node.window)
            self._bounds = None if node.window is None else bounds_of(node.window, self._codec)
            kept = {*node.keys, *(node.window.columns if node.window else ())}
            left, right = (TableDecoder(plan, side) for side in (node.left, node.right))
            own = [(name, name) for name in left._schema.names if name not in kept]
            self._names = [new for _, new in (*own, *node.right_columns)]
            self._results = JoinedResults([(left, own), (right, node.right_columns)]).results
        elif isinstance(node, TopicTableNode | GlobalTableNode):
            self._codec, self._start = KeyCodec((object,)), start_place(None)
            self._names = [name for name in node.schema.names if name not in node.keys]
            self._results = _latest(plan, node)
        else:
            declared = plan.types.get(node.id)
            key, value = (declared.key_type, declared.value_type) if isinstance(declared, AgentTable) else (object, Any)
            self._codec = KeyCodec((key, value) if node.sets else (key,), numbers_of(node.window))
            self._start = start_place(node.window)
            self._bounds = None if node.window is None else bounds_of(node.window, self._codec)
            self._value = None if node.sets else msgspec.msgpack.Decoder(value).decode

    def results(self, states: Sequence[bytes]) -> pl.DataFrame:
        """Return the columns of a declared table's rows that are not in their keys, by name."""
        assert self._results is not None
        return self._results(states)

    def key(self, key: bytes) -> Row:
        """Return the key columns of a row, and its window's bounds in seconds."""
        return {name: values[0] for name, values in self._keys([key]).items()}

    @property
    def window_bytes(self) -> int:
        """The bytes of an encoded key that stand for its window."""
        return self._codec.window_bytes

    def key_rows(self, keys: Sequence[bytes]) -> list[Row]:
        """Return the key columns of many rows, without their windows."""
        columns, _ = self._codec.decode_columns(keys)
        return [dict(zip(self.info.keys, row, strict=True)) for row in zip(*columns, strict=True)]

    def visible(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Return the entries that readers see.

        The rows of windows that wait for their end are hidden; in a table that no longer waits they are like others.
        """
        for key, value in entries:
            if value[:1] != OPEN:
                yield key, value
            elif not self._waits:
                yield key, value[1:]

    def rows(self, entries: Sequence[Entry]) -> list[Row]:
        """Return the rows of entries, in their order."""
        if not entries:
            return []
        columns = self._keys([k for k, _ in entries])
        states = [v for _, v in entries]
        if self._value is not None:
            columns["value"] = [self._value(v) for v in states]
        elif self._results is not None:
            results = self._results(states)
            columns.update((name, results[name].to_list()) for name in self._names)
            if self._ends_in_state:
                columns[END] = seconds(results[TIME])
        names = self._schema.names
        columns = {name: columns[name] for name in names}
        return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def frame(self, entries: Sequence[Entry]) -> pl.DataFrame:
        """Return entries as columns, in their order; window bounds are seconds."""
        keys = self._keys([k for k, _ in entries])
        states = [v for _, v in entries]
        series = [column(name, values, self._kind(name)) for name, values in keys.items()]
        if self._value is not None:
            series.append(column("value", [self._value(v) for v in states], self._kind("value")))
        elif self._results is not None:
            results = self._results(states)
            series.extend(self._plain(results[name]) for name in self._names)
            if self._ends_in_state:
                series.append(column(END, seconds(results[TIME]), Kind.FLOAT))
        return pl.DataFrame(series).select(self._schema.names)

    def window_start(self, key: bytes) -> float | None:
        """Return the window start of a key in seconds; None for a table without windows."""
        return None if self._bounds is None else self._codec.numbers([key], self._start)[0] / _SECOND

    def _keys(self, keys: Sequence[bytes]) -> dict[str, list[Any]]:
        columns, _ = self._codec.decode_columns(keys)
        found = dict(zip(self.info.keys, columns, strict=True))
        return found if self._bounds is None else found | self._bounds(keys)

    def _plain(self, results: pl.Series) -> pl.Series:
        """Return results as a column that Arrow can hold."""
        if results.dtype not in (pl.Object, pl.Null):
            return results
        return column(results.name, results.to_list(), self._kind(results.name))

    def _kind(self, name: str) -> Kind:
        found = self._schema.get(name)
        return Kind.OTHER if found is None else found.kind


def table_decoders(plan: Plan) -> dict[str, TableDecoder]:
    """Return the decoders of all tables of a plan, by table."""
    return {table: TableDecoder(plan, table) for table in plan.table_nodes()}


def _latest(plan: Plan, node: TopicTableNode | GlobalTableNode) -> Callable[[Sequence[bytes]], pl.DataFrame]:
    """Return what reads the rows of a topic's table: an event time, then the columns."""
    shape, columns = row_shape(node.schema, column_types(plan, node.id), int), frame_schema(node.schema)
    decode = msgspec.msgpack.Decoder(shape).decode

    def results(states: Sequence[bytes]) -> pl.DataFrame:
        _, *values = zip(*map(decode, states), strict=True)
        return pl.DataFrame([pl.Series(n, v, dtype=t) for (n, t), v in zip(columns.items(), values, strict=True)])

    return results


def keys_of(node: DeclaredTable | TableNode) -> tuple[str, ...]:
    """Return the names of a table's key columns."""
    if isinstance(node, DeclaredTable):
        return node.keys
    return ("key", "value") if node.sets else ("key",)


def _window(node: DeclaredTable | TableNode) -> str | None:
    if isinstance(node, TopicTableNode | GlobalTableNode) or node.window is None:
        return None
    return str(node.window) if isinstance(node, AggregateNode) else node.window.shape


def _kind(node: DeclaredTable | TableNode) -> str:
    if isinstance(node, GlobalTableNode):
        return "global"
    return "declared" if not isinstance(node, TableNode) else "set" if node.sets else "dictionary"


def _info(plan: Plan, node: DeclaredTable | TableNode) -> TableInfo:
    part = next((p for p in plan.subtopologies if node.id in p.steps), None)
    return TableInfo(
        name=node.table,
        kind=_kind(node),
        columns=tuple((f.name, str(f.type)) for f in node.schema),
        keys=keys_of(node),
        window=_window(node),
        partitions=() if part is None else tuple(range(part.partitions)),
    )
