"""The nodes of a plan: what is read, computed, kept and written. Frozen data; callables live beside, by step id."""

from __future__ import annotations

import msgspec

from dsl.plan.background_nodes import SourceNode as SourceNode
from dsl.plan.background_nodes import TaskNode as TaskNode
from dsl.plan.background_nodes import TimerNode as TimerNode
from dsl.plan.exprs import ExprNode, Literal
from dsl.plan.global_nodes import GlobalLookupNode as GlobalLookupNode
from dsl.plan.global_nodes import GlobalTableNode as GlobalTableNode
from dsl.plan.join_nodes import JoinNode as JoinNode
from dsl.plan.join_nodes import LookupNode as LookupNode
from dsl.plan.join_nodes import TopicTableNode as TopicTableNode
from dsl.plan.table_nodes import AnswerNode as AnswerNode
from dsl.plan.table_nodes import ChangesNode as ChangesNode
from dsl.plan.table_nodes import TableJoinNode as TableJoinNode
from dsl.plan.types import DataType, Schema
from dsl.plan.value_schema import ValueSchema as ValueSchema
from dsl.window import AnyWindow, FixedWindow


class TopicNode(msgspec.Struct, frozen=True, kw_only=True, tag="topic"):
    """A topic as the plan knows it. `schema` is None for values that are no Record.

    `partitioner` names the function that chooses its partitions, where it is not the client's own. `registered` is
    the schema that a registry keeps of its values.
    """

    id: str
    name: str
    value: str
    schema: Schema | None = None
    key: str | None = None
    timestamp: str | None = None
    unit: str = "s"
    partitions: int = 1
    codec: str = "json"
    registered: ValueSchema | None = None
    on_error: str = "dead-letter"
    partitioned_by: str | None = None
    partitioner: str = ""
    retention: int | None = None
    any_retention: bool = False
    internal: bool = False


class FilterNode(msgspec.Struct, frozen=True, kw_only=True, tag="filter"):
    """Keep the records for which the predicate is true."""

    id: str
    input: str
    predicate: ExprNode
    schema: Schema


class MergeNode(msgspec.Struct, frozen=True, kw_only=True, tag="merge"):
    """Make one stream of several, whose records a task takes in the order of their times."""

    id: str
    inputs: tuple[str, ...]
    schema: Schema | None


class SampleNode(msgspec.Struct, frozen=True, kw_only=True, tag="sample"):
    """Keep a part of the records, or of the values of `by`: those with a hash below `rate`, or one in `every`."""

    id: str
    input: str
    rate: float | None = None
    every: int | None = None
    by: tuple[str, ...] = ()
    schema: Schema | None


class DedupeNode(msgspec.Struct, frozen=True, kw_only=True, tag="dedupe"):
    """Keep the first record of each key within some time, in microseconds. `table` names its state."""

    id: str
    input: str
    table: str
    keys: tuple[str, ...]
    key_types: tuple[DataType, ...]
    within: int
    schema: Schema


class ClockNode(msgspec.Struct, frozen=True, kw_only=True, tag="clock"):
    """Give records another time: the wall clock's when the task takes them."""

    id: str
    input: str
    schema: Schema


class ProjectNode(msgspec.Struct, frozen=True, kw_only=True, tag="project"):
    """Compute columns: all that come out (`select`), or some added to the rest (`with_columns`)."""

    id: str
    input: str
    columns: tuple[tuple[str, ExprNode], ...]
    keep_rest: bool
    schema: Schema


class MapNode(msgspec.Struct, frozen=True, kw_only=True, tag="map"):
    """Call a Python function for each record; it returns a Record, or None to drop the record; or `many` Records."""

    id: str
    input: str
    function: str
    many: bool = False
    schema: Schema


class RepartitionNode(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="repartition"):
    """Send records through an internal topic, so that equal keys meet in one task.

    Partitions go by the canonical key, or, with `by_message_key`, as those of topics that others write go.
    """

    id: str
    input: str
    topic: str
    keys: tuple[str, ...]
    partitions: int
    by_message_key: bool = False
    schema: Schema


class AggregateCall(msgspec.Struct, frozen=True, kw_only=True):
    """One aggregate of a table: function, argument (None for `count()`), options and result type.

    `by` is what `arg_min` and `arg_max` compare, `bounds` are those between the buckets of a histogram, `step` and
    `accumulator` the function and the type of a fold, which reads whole records.
    """

    name: str
    function: str
    argument: ExprNode | None = None
    argument_type: DataType | None = None
    by: ExprNode | None = None
    by_type: DataType | None = None
    options: tuple[tuple[str, float], ...] = ()
    bounds: tuple[float, ...] = ()
    step: str = ""
    accumulator: str = ""
    result: DataType

    @property
    def arguments(self) -> tuple[ExprNode, ...]:
        """The expressions that it reads of a record."""
        return tuple(expr for expr in (self.argument, self.by) if expr is not None)


def on_close_id(table: str, timer: str = "") -> str:
    """Name the function that is called with the rows of windows that end, or with timers that are due, in the plan."""
    return f"{table}.on_time" if timer else f"{table}.on_window_close"


def dues_id(table: str) -> str:
    """Name the table that has the timers of keys in the order of time."""
    return f"{table}.dues"


def fold_id(table: str, name: str) -> str:
    """Name a fold in the plan's types."""
    return f"{table}.agg.{name}"


class AggregateNode(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="aggregate"):
    """A declared table: groups by keys and window, and keeps the aggregates; of a table's rows if it `retracts`."""

    id: str
    input: str
    table: str
    keys: tuple[str, ...]
    key_types: tuple[DataType, ...]
    window: AnyWindow | None
    aggregates: tuple[AggregateCall, ...]
    retracts: bool = False
    schema: Schema


class TableNode(msgspec.Struct, frozen=True, kw_only=True, tag="table"):
    """A dictionary table, written by agents.

    With `sets` a key has a set of values; each is a row. With `timer` its values are moments of "event" or "processing"
    time, at which `on_close` is called with the key.
    `on_close` names the function that is called with each row of a window that ends, `tables` are those it may touch.
    """

    id: str
    table: str
    key: str
    value: str
    schema: Schema
    sets: bool = False
    timer: str = ""
    window: FixedWindow | None = None
    on_close: str = ""
    tables: tuple[str, ...] = ()


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A function that chooses one of some topics for each value."""

    function: str
    topics: tuple[str, ...]


class AgentNode(msgspec.Struct, frozen=True, kw_only=True, tag="agent"):
    """A coroutine that reads a stream; `tables` are those that it may touch, `sinks` the topics it yields to.

    What it yields also goes to the topic that each of `routers` chooses.
    """

    id: str
    input: str
    function: str
    concurrency: int = 1
    on_error: str = "dead-letter"
    retries: int = 3
    sinks: tuple[str, ...] = ()
    routers: tuple[Choice, ...] = ()
    tables: tuple[str, ...] = ()


class SinkNode(msgspec.Struct, frozen=True, kw_only=True, tag="sink"):
    """Write a stream, or the changes of a table, to a topic.

    The partition is that of the record's key, unless `partition` computes it or `partition_function` returns it.
    """

    id: str
    input: str
    topic: str
    partition: ExprNode | None = None
    partition_function: str = ""


class RouteNode(msgspec.Struct, frozen=True, kw_only=True, tag="route"):
    """Write each record of a stream to one of `topics`.

    It is that of the case whose value `by` has, or the one that `function` returns. Partitions are as in a sink.
    """

    id: str
    input: str
    topics: tuple[str, ...]
    by: ExprNode | None = None
    cases: tuple[tuple[Literal, str], ...] = ()
    function: str = ""
    partition: ExprNode | None = None
    partition_function: str = ""


Node = (
    TopicNode
    | FilterNode
    | MergeNode
    | SampleNode
    | DedupeNode
    | ClockNode
    | ProjectNode
    | MapNode
    | RepartitionNode
    | AggregateNode
    | TableJoinNode
    | AnswerNode
    | ChangesNode
    | TableNode
    | AgentNode
    | TimerNode
    | SinkNode
    | RouteNode
    | SourceNode
    | TaskNode
    | JoinNode
    | TopicTableNode
    | LookupNode
    | GlobalTableNode
    | GlobalLookupNode
)


DeclaredTable = AggregateNode | TableJoinNode | TopicTableNode | GlobalTableNode
"""The nodes of tables that no agent writes."""

PASSING = (FilterNode, SampleNode, DedupeNode, ClockNode)
"""The nodes that pass on some of their input's rows as they are."""


def inputs_of(node: Node) -> tuple[str, ...]:
    """Return the ids of the steps that a step reads from."""
    if isinstance(node, AnswerNode):
        return (node.input, node.table)
    if isinstance(node, TableJoinNode) and node.answers:
        return (node.left, node.answers)
    if isinstance(node, JoinNode | TableJoinNode | LookupNode):
        return (node.left, node.right)
    if isinstance(node, MergeNode):
        return node.inputs
    if isinstance(node, TopicNode | TableNode | GlobalTableNode | TimerNode | SourceNode | TaskNode):
        return ()
    return (node.input,)


def tables_of(node: Node) -> tuple[str, ...]:
    """Return the ids of the dictionary tables that a step touches."""
    return node.tables if isinstance(node, AgentNode | TimerNode | TableNode) else ()


def written_by(node: Node) -> tuple[str, ...]:
    """Return the names of the topics that a step writes to, each once."""
    if isinstance(node, SinkNode | SourceNode):
        return (node.topic,)
    if isinstance(node, RouteNode):
        return node.topics
    if not isinstance(node, AgentNode):
        return ()
    return tuple(dict.fromkeys([*node.sinks, *(topic for router in node.routers for topic in router.topics)]))


def partition_rule(step: str) -> str:
    """Name the function of a plan that chooses the partitions of what a step writes, or of a topic."""
    return f"{step}.partition"


def router_rule(step: str, number: int) -> str:
    """Name the function of a plan that chooses topics for what an agent yields."""
    return f"{step}.router-{number}"
