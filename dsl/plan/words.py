"""What each node of a plan does, in the words that `explain`, the web page and `flows topology` show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dsl.durations import show
from dsl.plan.exprs import Column, render
from dsl.plan.graph import Plan
from dsl.plan.nodes import (
    AgentNode,
    AggregateCall,
    AggregateNode,
    AnswerNode,
    ChangesNode,
    ClockNode,
    DedupeNode,
    FilterNode,
    GlobalLookupNode,
    GlobalTableNode,
    JoinNode,
    LookupNode,
    MapNode,
    MergeNode,
    Node,
    ProjectNode,
    RepartitionNode,
    RouteNode,
    SampleNode,
    SinkNode,
    SourceNode,
    TableJoinNode,
    TableNode,
    TaskNode,
    TimerNode,
    TopicNode,
    TopicTableNode,
)

_COLUMNAR = (
    FilterNode,
    MergeNode,
    SampleNode,
    ClockNode,
    ProjectNode,
    RepartitionNode,
    AggregateNode,
    ChangesNode,
    TableJoinNode,
    AnswerNode,
)
_ROW = (
    *(DedupeNode, MapNode, JoinNode, TopicTableNode, LookupNode, GlobalLookupNode),
    *(AgentNode, TimerNode, SourceNode, TaskNode),
)


def path_of(plan: Plan, node: Node) -> str:
    """Say on which path a node runs: "columnar" (no Python per record), "row", or "" where nothing runs.

    What is written to a topic leaves on the path that it came by, unless a function says where to.
    """
    if isinstance(node, SinkNode | RouteNode):
        if node.partition_function or (isinstance(node, RouteNode) and node.function):
            return "row"
        return "columnar" if isinstance(plan.nodes[node.input], _COLUMNAR) else "row"
    if isinstance(node, ChangesNode) and node.each:
        return "row"
    if isinstance(node, _COLUMNAR):
        return "columnar"
    return "row" if isinstance(node, _ROW) else ""


def words(node: Node) -> str:
    """Say in one line what a node does.

    >>> words(TableNode(id="late", table="late", key="str", value="int", schema=None))
    'dictionary table str -> int'
    """
    return _WORDS[type(node)](node)


def call_words(call: AggregateCall) -> str:
    """Print an aggregate as it was declared: `p95 = quantile(delay, error=0.01, q=0.95)`."""
    parts = [] if call.argument is None else [render(call.argument)]
    parts += [] if call.by is None else [f"by={render(call.by)}"]
    parts += [f"{n}={v:g}" for n, v in call.options]
    parts += [f"bounds=[{', '.join(f'{b:g}' for b in call.bounds)}]"] if call.bounds else []
    parts += [f"{call.step} -> {call.accumulator}"] if call.step else []
    return f"{call.name} = {call.function}({', '.join(parts)})"


def _topic(node: TopicNode) -> str:
    parts = [node.value if node.schema is None else f"{node.value}({node.schema})"]
    if node.codec != "json":
        parts.append(node.codec)
    if node.key is not None:
        parts.append(f"key {node.key}" + (f" by {node.partitioned_by}" if node.partitioned_by else ""))
    if node.partitioner:
        parts.append(f"partitions by {node.partitioner}")
    if node.timestamp is not None:
        parts.append(f"time {node.timestamp} ({node.unit})")
    if node.on_error != "dead-letter":
        parts.append(f"bad values: {node.on_error}")
    if node.internal:
        parts.append("internal")
    return ", ".join(parts)


def _filter(node: FilterNode) -> str:
    return f"keep {render(node.predicate)}"


def _merge(node: MergeNode) -> str:
    return f"merge {', '.join(node.inputs)}"


def _sample(node: SampleNode) -> str:
    of = f"values of {', '.join(node.by)}" if node.by else "records"
    return f"keep {node.rate:g} of the {of}" if node.rate is not None else f"keep one in {node.every} {of}"


def _dedupe(node: DedupeNode) -> str:
    return f"keep the first by {', '.join(node.keys)} within {show(node.within)}, kept as {node.table}"


def _clock(node: ClockNode) -> str:
    return "time is the wall clock's when a record is taken"


def _project(node: ProjectNode) -> str:
    shown = [n if e == Column(n) else f"{n} = {render(e)}" for n, e in node.columns]
    return f"{'add' if node.keep_rest else 'take'} {', '.join(shown)}"


def _map(node: MapNode) -> str:
    return f"call {node.function} -> {'many ' if node.many else ''}{node.schema.owner}({node.schema})"


def _repartition(node: RepartitionNode) -> str:
    return f"send by {', '.join(node.keys)} to {node.topic} ({partitions(node.partitions)})" + (
        " as message keys go" if node.by_message_key else ""
    )


def _aggregate(node: AggregateNode) -> str:
    window = "" if node.window is None else f", {node.window}"
    return f"table by {', '.join(node.keys)}{window}: {'; '.join(map(call_words, node.aggregates))}"


def _join(node: JoinNode) -> str:
    pairs = zip(node.left_keys, node.right_keys, strict=True)
    keys = ", ".join(left if left == right else f"{left} = {right}" for left, right in pairs)
    grace = f", grace={show(node.grace)}" if node.grace else ""
    renamed = ", ".join(f"{name} as {new}" for name, new in node.right_columns if name != new)
    picks = "" if node.picks == "all" else f", the {node.picks} one{' so far' if node.at_once else ''}"
    return f"{node.how} join by {keys} {node.window}{picks}{grace}" + (f", right {renamed}" if renamed else "")


def _table_join(node: TableJoinNode) -> str:
    renamed = ", ".join(f"{name} as {new}" for name, new in node.right_columns if name != new)
    other = node.right + (f" on {node.on}" if node.on else "")
    return f"table by {', '.join(node.keys)}: {node.how} join with {other}" + (f", {renamed}" if renamed else "")


def _answer(node: AnswerNode) -> str:
    return f"answer from {node.table} what {node.owner} asks by {node.on}"


def _topic_table(node: TopicTableNode) -> str:
    versions = "" if node.history is None else f", with the versions of {show(node.history)}"
    return f"table by {', '.join(node.keys)}: the latest value{versions}"


def _lookup(node: LookupNode) -> str:
    renamed = ", ".join(f"{name} as {new}" for name, new in node.right_columns if name != new)
    return f"{node.how} join by {', '.join(node.left_keys)} with the row of {node.right}" + (
        f", its {renamed}" if renamed else ""
    )


def _global_table(node: GlobalTableNode) -> str:
    return f"table by {', '.join(node.keys)}: the latest value, whole on every worker"


def _global_lookup(node: GlobalLookupNode) -> str:
    renamed = ", ".join(f"{name} as {new}" for name, new in node.right_columns if name != new)
    return f"{node.how} join by {render(node.on)} with the row of {node.table}, which is here as a whole" + (
        f", its {renamed}" if renamed else ""
    )


def _changes(node: ChangesNode) -> str:
    if node.asks:
        return f"questions of {node.table} for {node.asks}"
    which = "rows as they go and come" if node.retract else "changes and removals" if node.removals else "changes"
    which = f"all {which}" if node.each else which
    return f"{which} of {node.table}" + ("" if node.every is None else f", each row at most every {show(node.every)}")


def _table(node: TableNode) -> str:
    if node.timer:
        uses = f", which uses {', '.join(node.tables)}" if node.tables else ""
        return f"timers of {node.timer} time by key {node.key}: call {node.on_close}{uses}"
    parts = [f"{'set' if node.sets else 'dictionary'} table {node.key} -> {node.value}"]
    if node.window is not None:
        kept = "" if node.window.retention is None else f", expires={show(node.window.retention)}"
        parts.append(f"{node.window.shape[:-1]}{kept})")
    if node.on_close:
        parts.append(f"calls {node.on_close} with windows that expire")
    if node.tables:
        parts.append(f"which uses {', '.join(node.tables)}")
    return ", ".join(parts)


def _agent(node: AgentNode) -> str:
    parts = [f"agent {node.function}"]
    if node.tables:
        parts.append(f"uses {', '.join(node.tables)}")
    if node.sinks:
        parts.append(f"yields to {', '.join(node.sinks)}")
    parts += [f"yields to one of {', '.join(r.topics)} by {r.function}" for r in node.routers]
    if node.concurrency > 1:
        parts.append(f"{node.concurrency} copies by key")
    parts.append(f"on error {node.on_error} after {node.retries} retries")
    return ", ".join(parts)


def _timer(node: TimerNode) -> str:
    uses = f", uses {', '.join(node.tables)}" if node.tables else ""
    when = f"at {node.cron} ({node.timezone})" if node.cron else f"every {show(node.interval)}"
    return f"call {node.function} {when}{', in every worker' if node.everywhere else ''}{uses}"


def _task(node: TaskNode) -> str:
    return f"run {node.function} in {'one worker' if node.on_leader else 'every worker'}"


def _sink(node: SinkNode) -> str:
    return f"write to {node.topic}{_partition(node)}"


def _route(node: RouteNode) -> str:
    if node.by is None:
        return f"write to one of {', '.join(node.topics)} by {node.function}{_partition(node)}"
    cases = ", ".join(f"{render(value)} to {topic}" for value, topic in node.cases)
    return f"write by {render(node.by)}: {cases}{_partition(node)}"


def _partition(node: SinkNode | RouteNode) -> str:
    rule = node.partition_function if node.partition is None else render(node.partition)
    return f", partition by {rule}" if rule else ""


def _source(node: SourceNode) -> str:
    return f"source {node.function}, yields to {node.topic}"


def partitions(count: int) -> str:
    """Print a number of partitions."""
    return f"{count} partition{'' if count == 1 else 's'}"


_WORDS: dict[type, Callable[[Any], str]] = {
    TopicNode: _topic,
    FilterNode: _filter,
    MergeNode: _merge,
    SampleNode: _sample,
    DedupeNode: _dedupe,
    ClockNode: _clock,
    ProjectNode: _project,
    MapNode: _map,
    RepartitionNode: _repartition,
    AggregateNode: _aggregate,
    AnswerNode: _answer,
    ChangesNode: _changes,
    TableJoinNode: _table_join,
    TableNode: _table,
    AgentNode: _agent,
    TimerNode: _timer,
    TaskNode: _task,
    SinkNode: _sink,
    RouteNode: _route,
    SourceNode: _source,
    JoinNode: _join,
    TopicTableNode: _topic_table,
    LookupNode: _lookup,
    GlobalTableNode: _global_table,
    GlobalLookupNode: _global_lookup,
}
