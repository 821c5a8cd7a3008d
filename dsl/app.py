"""The app: where a flow module declares its topics, streams, tables, agents and timers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from dsl.agent import Agent, check_coroutine, tables_used
from dsl.checks import (
    check_fields,
    check_one_of,
    check_partitioner,
    checked_name,
    checked_partitions,
    function_name,
    key_type,
    type_of_value,
)
from dsl.durations import Duration, microseconds
from dsl.errors import DeclarationError
from dsl.grouped import Aggregated
from dsl.plan.graph import Plan, late_topic_name
from dsl.plan.nodes import (
    AgentNode,
    Node,
    SourceNode,
    TableNode,
    TimerNode,
    TopicNode,
    partition_rule,
    router_rule,
)
from dsl.plan.types import Field, Schema, schema_of
from dsl.plan.validate import validate
from dsl.routing import Router, sinks_of
from dsl.stream import Stream
from dsl.table import DictTable, Table
from dsl.topic import Topic, is_record, value_name

Function = TypeVar("Function", bound=Callable[..., Any])

_ON_ERROR = ("dead-letter", "skip", "stop")
_CODECS = ("json", "msgpack", "raw")


class App:
    """Declare a stream-processing app. `id` prefixes its internal topics and names its consumer group.

    `partitions` is the default number of partitions of the topics that are declared.
    """

    def __init__(self, id: str, *, partitions: int = 1) -> None:
        self.id = checked_name("app", id)
        self.partitions = checked_partitions("app", partitions)
        self._nodes: dict[str, Node] = {}
        self._functions: dict[str, Callable[..., Any]] = {}
        self._types: dict[str, Any] = {}
        self._topics: dict[str, Topic] = {}
        self._tables: dict[str, DictTable | None] = {}
        self._unnamed: list[Aggregated] = []

    def __repr__(self) -> str:
        return f"<App {self.id}>"

    def topic(
        self,
        name: str,
        *,
        value: Any = dict,
        key: str | None = None,
        timestamp: str | None = None,
        unit: str = "s",
        partitions: int | None = None,
        codec: str | None = None,
        on_error: str = "dead-letter",
        partitioned_by: str | None = None,
        partitioner: Callable[[bytes | None, int], int] | None = None,
        retention: Duration | msgspec.UnsetType | None = msgspec.UNSET,
    ) -> Topic:
        """Declare a topic.

        `value` is a Record class, `dict`, `str` or `bytes`. `key` says that the message key is that field;
        `timestamp` names the field with the event time: a datetime, or a number in `unit` ("s", "ms", "us") since
        the epoch; without it the record's own timestamp counts. `on_error` is what happens to values that cannot
        be decoded: "dead-letter", "skip" or "stop". `retention` is how long the topic keeps its records (None: for
        ever); where it is not declared, a topic that exists is taken as it is, and one that Flows makes keeps them
        for seven days. `partitioner` is called with the bytes of a record's key (None where it has none) and the number
        of partitions, wherever Flows writes to the topic, and returns the partition; equal keys must get the same.
        Without it partitions are chosen as by Kafka's Java client. Raises `DeclarationError`.
        """
        if name in self._topics:
            raise DeclarationError(f"topic {name!r} is declared twice.")
        schema = schema_of(value) if is_record(value) else None
        check_fields(name, schema, key, timestamp)
        check_one_of(f"topic {name!r}: on_error", on_error, _ON_ERROR)
        check_one_of(f"topic {name!r}: unit", unit, ("s", "ms", "us"))
        check_partitioner(name, partitioner, partitioned_by)
        codec = codec or ("raw" if value in (bytes, str) else "json")
        kept: Duration | None = "7d" if isinstance(retention, msgspec.UnsetType) else retention
        check_one_of(f"topic {name!r}: codec", codec, _CODECS)
        node = TopicNode(
            id=name,
            name=checked_name("topic", name),
            value=value_name(value),
            schema=schema,
            key=key,
            timestamp=timestamp,
            unit=unit,
            partitions=checked_partitions(f"topic {name!r}", self.partitions if partitions is None else partitions),
            codec=codec,
            on_error=on_error,
            partitioned_by=partitioned_by,
            partitioner="" if partitioner is None else function_name(partitioner),
            retention=None if kept is None else microseconds(kept, f"topic {name!r}: retention"),
            any_retention=retention is msgspec.UNSET,
        )
        if partitioner is not None:
            self._functions[partition_rule(name)] = partitioner
        return self._add_topic(node, value)

    def table(
        self,
        name: str,
        *,
        key: Any = str,
        value: Any = Any,
        default: Callable[[], Any] | None = None,
    ) -> DictTable:
        """Declare a dictionary table that agents write; `default` makes the value of a missing key."""
        self._claim_table(name)
        if default is not None and not callable(default):
            raise DeclarationError(f"table {name!r}: default must be callable, such as int or list, not {default!r}.")
        schema = Schema((Field("key", key_type(name, key)), Field("value", type_of_value(value))), name)
        node = TableNode(id=name, table=name, key=value_name(key), value=value_name(value), schema=schema)
        table = DictTable(self, name, key, value, default)
        self._tables[name] = table
        self._add(node, default, table)
        return table

    def agent(
        self,
        source: Stream,
        *,
        sink: Iterable[Topic | Router] = (),
        concurrency: int = 1,
        name: str | None = None,
        on_error: str = "dead-letter",
        retries: int = 3,
        tables: Iterable[DictTable] = (),
    ) -> Callable[[Callable[..., Any]], Agent]:
        """Declare a coroutine over a stream; what it yields goes to the topics in `sink`, some chosen by `router`.

        A record that makes it raise is retried `retries` times, then handled by `on_error`. With
        `concurrency` n, n copies share a task's records by key. Tables are found by name in the function;
        `tables` adds what cannot be seen there.
        """
        if not isinstance(source, Stream):
            raise DeclarationError(f"an agent reads a topic or a stream, not {source!r}: write @app.agent(topic).")
        check_one_of("agent: on_error", on_error, _ON_ERROR)
        if concurrency < 1 or retries < 0:
            raise DeclarationError(
                f"agent: concurrency must be at least 1, retries at least 0 ({concurrency}, {retries})."
            )
        topics, routers = sinks_of(self, sink)
        named = self._own_tables(tables)

        def declare(function: Callable[..., Any]) -> Agent:
            check_coroutine(function, "an agent", "async for record in stream: …")
            step = self._new_step(checked_name("agent", name or function.__name__), numbered=False)
            self._add(
                AgentNode(
                    id=step,
                    input=source.step,
                    function=getattr(function, "__qualname__", step),
                    concurrency=concurrency,
                    on_error=on_error,
                    retries=retries,
                    sinks=topics,
                    routers=tuple(r.choice(self, "sink") for r in routers),
                    tables=named,
                ),
                function,
            )
            self._functions.update({router_rule(step, i): r.function for i, r in enumerate(routers)})
            return Agent(step, function)

        return declare

    def timer(self, interval: Duration, *, tables: Iterable[DictTable] = ()) -> Callable[[Function], Function]:
        """Call a coroutine every `interval`, inside the commit of each task that holds the tables it uses."""
        every = microseconds(interval, "timer interval")
        if every <= 0:
            raise DeclarationError(f"a timer's interval must be positive, not {interval!r}.")

        named = self._own_tables(tables)

        def declare(function: Function) -> Function:
            check_coroutine(function, "a timer", "…")
            step = self._new_step(function.__name__, numbered=False)
            node = TimerNode(id=step, function=function.__qualname__, interval=every, tables=named)
            self._add(node, function)
            return function

        return declare

    def source(self, topic: Topic, *, total: Callable[[], int] | int | None = None) -> Callable[[Function], Function]:
        """Feed a topic from a function `f(position)`, exactly once over restarts.

        It yields the records from `position` on (0 at first): the position is kept with what was written, so a
        restart goes on where it was. The records must be the same each time. A worker of the group runs it.
        `total` tells how many records there will be, for the progress bar.
        """
        target = self._own_topic(topic, "source")

        def declare(function: Function) -> Function:
            step = self._new_step(function.__name__, numbered=False)
            self._add(SourceNode(id=step, function=function.__qualname__, topic=target), function)
            if total is not None:
                self._functions[f"{step}.total"] = total if callable(total) else lambda: total
            return function

        return declare

    def plan(self) -> Plan:
        """Return all that is declared, as frozen data. Raises `DeclarationError` where parts do not fit together."""
        for lost in self._unnamed:
            raise DeclarationError("these aggregates are kept nowhere: end them with .table(name).", place=lost.place)
        nodes = tuple(self._with_tables(node) for node in self._nodes.values())
        plan = Plan(self.id, nodes, self._functions, self._types)
        validate(plan)
        return plan

    def _with_tables(self, node: Node) -> Node:
        # Only now, since a function may name tables and helpers that the module declares below it.
        if not isinstance(node, AgentNode | TimerNode):
            return node
        used = self._own_tables(tables_used(self._functions[node.id]))
        return msgspec.structs.replace(node, tables=tuple(sorted({*node.tables, *used})))

    def _own_tables(self, tables: Iterable[DictTable]) -> tuple[str, ...]:
        if isinstance(tables, DictTable | Table):
            raise DeclarationError(f"tables takes a list: tables=[{tables.name}].")
        tables = tuple(tables)
        for table in tables:
            if not isinstance(table, DictTable):
                raise DeclarationError(f"tables takes tables made by app.table(...), not {table!r}.")
            if table.app is not self:
                raise DeclarationError(f"table {table.name!r} belongs to app {table.app.id!r}, not to {self.id!r}.")
        return tuple(sorted({table.name for table in tables}))

    # What streams and tables need to add their steps.

    def _add(self, node: Node, function: Callable[..., Any] | None = None, type_: Any = None) -> None:
        self._nodes[node.id] = node
        if function is not None:
            self._functions[node.id] = function
        if type_ is not None:
            self._types[node.id] = type_

    def _add_topic(self, node: TopicNode, value: Any) -> Topic:
        if node.id in self._nodes:
            raise DeclarationError(f"the name {node.id!r} is taken by another topic, table or agent of the app.")
        self._add(node, None, value)
        topic = self._topics[node.name] = Topic(self, node, value)
        return topic

    def _new_step(self, step: str, *, numbered: bool = True) -> str:
        if step not in self._nodes:
            return step
        if not numbered:
            raise DeclarationError(f"the name {step!r} is taken by another topic, table or agent of the app.")
        number = 2
        while f"{step}-{number}" in self._nodes:
            number += 1
        return f"{step}-{number}"

    def _claim_table(self, name: str) -> None:
        checked_name("table", name)
        if name in self._tables:
            raise DeclarationError(f"table {name!r} is declared twice: each table needs a name of its own.")
        if name in self._nodes:
            raise DeclarationError(f"the name {name!r} is taken by another topic, table or agent of the app.")
        self._tables[name] = None

    def _partitions_before(self, step: str) -> int:
        node = self._nodes[step]
        while not isinstance(node, TopicNode):
            node = self._nodes[getattr(node, "input")]  # noqa: B009  (not every node has one; streams' do)
        return node.partitions

    def _late_topic(self, table: Table) -> Topic:
        name = late_topic_name(self.id, table.name)
        if name not in self._topics:
            partitions = self._partitions_of_table(table.name)
            node = TopicNode(id=name, name=name, value="dict", partitions=partitions, internal=True)
            return self._add_topic(node, dict)
        return self._topics[name]

    def _partitions_of_table(self, table: str) -> int:
        node = self._nodes[table]
        while not isinstance(node, TopicNode):
            if hasattr(node, "partitions"):
                return int(node.partitions)
            node = self._nodes[getattr(node, "input")]  # noqa: B009
        return node.partitions

    def _own_topic(self, topic: Topic, role: str) -> str:
        if not isinstance(topic, Topic):
            raise DeclarationError(f"{role} takes a topic made by app.topic(...), not {topic!r}.")
        if topic.app is not self:
            raise DeclarationError(f"{role}: topic {topic.name!r} belongs to app {topic.app.id!r}, not to {self.id!r}.")
        return topic.name
