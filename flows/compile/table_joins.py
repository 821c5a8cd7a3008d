"""Compiling tables of topics, and joins of streams with tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from dsl.plan.column_types import column_types
from dsl.plan.nodes import AggregateNode, LookupNode, Node, TopicNode, TopicTableNode
from dsl.plan.types import Schema
from flows.compile.branch import Branch
from flows.compile.changes import keep_table
from flows.compile.columns import schema_of_step
from flows.compile.feeds import Derived, Feed
from flows.compile.names import VERSIONS
from flows.compile.tables import TableDecoder, keys_of
from flows.compile.terms import frame_schema
from flows.compile.values import key_types, row_shape
from flows.decode.message_keys import decode_message_key
from flows.operate.aggregate import AggregateStep
from flows.operate.base import FrameStep, Times
from flows.operate.joins.table_lookup import Find, Row, TableLookup
from flows.operate.joins.topic_table import TopicTable
from flows.state.keys import KeyCodec

if TYPE_CHECKING:
    from flows.compile.pipeline import Pipeline
    from flows.compile.task import TaskCompiler


class HeldTables:
    """The tables of a task that streams are joined with: what feeds each, and how it is read."""

    def __init__(self) -> None:
        self._tables: dict[str, tuple[Feed, Find]] = {}
        self._readers: list[tuple[str, Feed]] = []
        self._as_of_now: set[str] = set()

    def add(self, table: str, fed_by: Feed, find: Find, *, knows_turns: bool) -> None:
        """Learn of a table; one that does not know what it was at each turn is read as it is."""
        self._tables[table] = fed_by, find
        if not knows_turns:
            self._as_of_now.add(table)

    def read_by(self, table: str, reader: Feed) -> Find:
        """Return how a table is read, which may be built later."""
        self._readers.append((table, reader))
        return lambda keys, times, turns: self._tables[table][1](keys, times, turns)

    def arrange(self, pipeline: Pipeline, fed_by: dict[int, list[Branch]]) -> None:
        """Have the records of tables come before those of the same time that are joined with them.

        A table that is read as it is has what came up to each record, no more: rounds are taken in runs of one input,
        and where that feeds both, its records one by one.
        """

        def inputs(feed: Feed) -> list[Branch]:
            return fed_by.get(id(feed.origin), []) if isinstance(feed, Branch | Derived) else []

        for table, reader in self._readers:
            readers = list(map(id, inputs(reader)))
            pipeline.by_runs = pipeline.by_runs or table in self._as_of_now
            for branch in inputs(self._tables[table][0]):
                branch.comes_first = True
                branch.one_by_one = branch.one_by_one or (table in self._as_of_now and id(branch) in readers)


def tables_first(nodes: list[Node]) -> list[Node]:
    """Put tables before what may be joined with them."""
    return sorted(nodes, key=lambda node: not isinstance(node, TopicTableNode | AggregateNode))


def topic_table(compiler: TaskCompiler, node: TopicTableNode) -> None:
    """Build a topic's table."""
    topic = compiler.plan.nodes[node.input]
    assert isinstance(topic, TopicNode)
    assert isinstance(compiler.branch, Branch)
    types = key_types(node.schema, node.keys)
    table = TopicTable(
        node.table,
        node.table + VERSIONS,
        node.keys[0],
        node.schema.names,
        node.history,
        encoder=KeyCodec(types),
        read_key=lambda data: decode_message_key(data, types[0]),
        decode=msgspec.msgpack.Decoder(row_shape(node.schema, column_types(compiler.plan, node.id), int)).decode,
        state=compiler.context.state,
        times=compiler.branch.times,
        changed=lambda keys, states: compiler.pipeline.changed(node.table, keys, states),
        dead=compiler.dead,
    )
    compiler.branch.kept.append(table)
    compiler.held.add(node.table, compiler.branch, table.find, knows_turns=True)
    keep_table(compiler, node, table)


def hold_aggregates(compiler: TaskCompiler, table: str, step: AggregateStep) -> None:
    """Let joins read a table of aggregates."""
    decoder, state = TableDecoder(compiler.plan, table), compiler.context.state

    def find(keys: list[bytes], times: Sequence[int | None], turns: Times) -> list[Row | None]:
        step.catch_up()
        found = state.get_many(table, keys, uncommitted=True)
        rows = iter(decoder.rows([(k, v) for k, v in zip(keys, found, strict=True) if v is not None]))
        return [None if value is None else tuple(next(rows).values()) for value in found]

    compiler.held.add(table, compiler.branch, find, knows_turns=False)


def lookup(compiler: TaskCompiler, node: LookupNode) -> FrameStep:
    """Build a join of a stream with a table, which may be built later."""
    of_table = schema_of_step(compiler.plan, node.right)
    names = [name for name, _ in node.right_columns]
    places = [of_table.names.index(name) for name in names]
    added = {name for _, name in node.right_columns}
    columns = frame_schema(Schema(tuple(f for f in node.schema if f.name in added)))
    read = compiler.held.read_by(node.right, compiler.branch)

    def find(keys: list[bytes], times: Sequence[int | None], turns: Times) -> list[Row | None]:
        rows = read(keys, times, turns)
        return [None if row is None else tuple(row[p] for p in places) for row in rows]

    return TableLookup(
        node.id,
        node.left_keys,
        columns,
        node.how == "inner",
        encoder=KeyCodec(key_types(of_table, keys_of(compiler.plan.table_nodes()[node.right]))),
        find=find,
        dead=compiler.dead,
        then=compiler.fan(node.id),
    ).process
