"""Which columns of its input a step needs, so that a source builds no others."""

from __future__ import annotations

from dsl.plan.exprs import columns_of
from dsl.plan.graph import Plan
from dsl.plan.nodes import (
    PASSING,
    AgentNode,
    AggregateNode,
    ClockNode,
    DedupeNode,
    FilterNode,
    GlobalLookupNode,
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
    TopicNode,
    TopicTableNode,
    inputs_of,
)
from dsl.plan.types import Schema


def needed_columns(plan: Plan, step: str) -> set[str]:
    """Return the columns of a step's output that the steps behind it read."""
    return set().union(*(_read_by(plan, consumer) for consumer in plan.consumers(step)))


def _read_by(plan: Plan, node: Node) -> set[str]:
    if isinstance(node, FilterNode):
        return {*columns_of(node.predicate)} | needed_columns(plan, node.id)
    if isinstance(node, MergeNode | ClockNode):
        return needed_columns(plan, node.id)
    if isinstance(node, SampleNode | DedupeNode):
        return {*(node.by if isinstance(node, SampleNode) else node.keys)} | needed_columns(plan, node.id)
    if isinstance(node, ProjectNode):
        computed = {c for _, expr in node.columns for c in columns_of(expr)}
        passed = needed_columns(plan, node.id) - {name for name, _ in node.columns} if node.keep_rest else set()
        return computed | passed
    if isinstance(node, RepartitionNode):
        return set(node.schema.names)
    if isinstance(node, TopicTableNode):
        return set(node.schema.names)
    if isinstance(node, LookupNode):
        return {*node.left_keys} | (needed_columns(plan, node.id) - {name for _, name in node.right_columns})
    if isinstance(node, GlobalLookupNode):
        return {*columns_of(node.on)} | (needed_columns(plan, node.id) - {name for _, name in node.right_columns})
    if isinstance(node, JoinNode):
        # All of both sides is kept, so that a step that is added later finds what was stored before.
        return {name for side in inputs_of(node) for name in schema_of_step(plan, side).names}
    if isinstance(node, AggregateNode):
        arguments = (c for call in node.aggregates for expr in call.arguments for c in columns_of(expr))
        has_fold = any(call.step for call in node.aggregates)
        return {*node.keys, *arguments} | (_whole_rows(plan, node.input) if has_fold else set())
    if isinstance(node, SinkNode | RouteNode):
        rules = (node.partition, node.by if isinstance(node, RouteNode) else None)
        read = {c for rule in rules if rule is not None for c in columns_of(rule)}
        return read | _whole_rows(plan, node.input)
    if isinstance(node, MapNode | AgentNode):
        return _whole_rows(plan, node.input)
    return set()


def _whole_rows(plan: Plan, step: str) -> set[str]:
    """Return the columns that the row objects of a step's output are made of."""
    return set() if has_original_rows(plan, step) else set(schema_of_step(plan, step).names)


def has_original_rows(plan: Plan, step: str) -> bool:
    """Tell whether a step's rows are the decoded objects of topics, perhaps fewer of them."""
    node = plan.nodes[step]
    while isinstance(node, PASSING):
        node = plan.nodes[node.input]
    if isinstance(node, MergeNode):
        return all(has_original_rows(plan, before) for before in node.inputs)
    return isinstance(node, TopicNode)


def schema_of_step(plan: Plan, step: str) -> Schema:
    """Return the columns of a step's output; empty where values are no Record."""
    schema = getattr(plan.nodes[step], "schema", None)
    return schema if schema is not None else Schema((), step)


def topic_of_step(plan: Plan, step: str) -> TopicNode | None:
    """Return the topic whose objects a step passes on unchanged."""
    node = plan.nodes[step]
    while isinstance(node, PASSING):
        node = plan.nodes[node.input]
    return node if isinstance(node, TopicNode) else None


def repartition_of(plan: Plan, step: str) -> RepartitionNode | None:
    """Return the repartition that a step's rows come from, in the same task."""
    node = plan.nodes[step]
    while not isinstance(node, TopicNode | RepartitionNode):
        before = inputs_of(node)
        if len(before) != 1:
            return None
        node = plan.nodes[before[0]]
    return node if isinstance(node, RepartitionNode) else None
