"""What can only be checked when all is declared: tasks of timers, names of internal topics, who chooses partitions."""

from __future__ import annotations

import inspect

from dsl.errors import DeclarationError
from dsl.plan.graph import Plan
from dsl.plan.nodes import (
    AgentNode,
    AggregateNode,
    DedupeNode,
    JoinNode,
    LookupNode,
    RepartitionNode,
    RouteNode,
    SinkNode,
    TableNode,
    TimerNode,
    TopicNode,
    TopicTableNode,
    inputs_of,
    on_close_id,
    partition_rule,
    written_by,
)


def validate(plan: Plan) -> None:
    """Raise `DeclarationError` where the parts of a plan do not fit together."""
    _ = plan.subtopologies  # says which topics that share tasks differ in partitions
    _check_timers(plan)
    _check_window_closes(plan)
    _check_internal_topics(plan)
    _check_partitioners(plan)
    _check_partition_rules(plan)


def _check_timers(plan: Plan) -> None:
    for node in plan.of_type(TimerNode):
        if node.everywhere and node.tables:
            raise DeclarationError(
                f"timer {node.id!r} uses table {node.tables[0]!r}, so it runs in each task that holds the table: "
                "leave out on_leader=False.",
                place=_place(plan, node.id),
            )
    for node in plan.steps_outside():
        if isinstance(node, TimerNode) and node.tables:
            raise DeclarationError(
                f"timer {node.id!r} uses table {node.tables[0]!r}, which no agent uses, so no task holds it: "
                "use the table in an agent too.",
                place=_place(plan, node.id),
            )


def _check_window_closes(plan: Plan) -> None:
    for node in plan.of_type(TableNode):
        if node.timer and not node.on_close:
            raise DeclarationError(
                f"key timer {node.table!r} calls nothing: write @{node.table}.on_time above a function."
            )
        if node.on_close and node.window is None and not node.timer:
            raise DeclarationError(
                f"table {node.table!r} has on_window_close but no windows: end it with .tumbling(size, expires=…).",
                place=_place(plan, on_close_id(node.id, node.timer)),
            )


def _check_internal_topics(plan: Plan) -> None:
    for repartition in plan.of_type(RepartitionNode):
        if plan.topic(repartition.topic) is not None:
            raise DeclarationError(
                f"topic {repartition.topic!r} has the name of the internal topic of {repartition.id!r}: rename it."
            )


def origins(plan: Plan, step: str) -> list[TopicNode | RepartitionNode]:
    """Return the topics that a step's records come from, declared and internal."""
    found: dict[str, TopicNode | RepartitionNode] = {}
    queue = [step]
    while queue:
        node = plan.nodes[queue.pop()]
        if isinstance(node, TopicNode | RepartitionNode):
            found[node.id] = node
        else:
            queue += inputs_of(node)
    return list(found.values())


def check_partitioned_alike(plan: Plan, topics: list[TopicNode | RepartitionNode], what: str) -> None:
    """Raise `DeclarationError` where a function chooses the partitions of one topic, and not those of another."""
    if len({id(plan.functions.get(partition_rule(topic.id))) for topic in topics}) < 2:
        return
    shown = ", ".join(
        f"{getattr(t, 'topic', t.id)} by {getattr(t, 'partitioner', '') or 'the hash of the key'}" for t in topics
    )
    raise DeclarationError(
        f"{what} needs equal keys of its topics in one task, but their partitions are chosen differently: {shown}. "
        "Give them the same partitioner, or send one through a topic that has it."
    )


def _check_partitioners(plan: Plan) -> None:
    users: dict[str, list[str]] = {}
    for agent in plan.of_type(AgentNode):
        for table in agent.tables:
            users.setdefault(table, []).append(agent.id)
    for table, agents in users.items():
        topics = {topic.id: topic for agent in agents for topic in origins(plan, agent)}
        check_partitioned_alike(plan, list(topics.values()), f"table {table!r}")
    for keyed in plan.of_type(AggregateNode, DedupeNode):
        check_partitioned_alike(plan, origins(plan, keyed.input), f"table {keyed.table!r}")


def _check_partition_rules(plan: Plan) -> None:
    """A `partition=` may part records of one key, so that a table by that key would have it in two tasks."""
    ruled = {
        topic: node.id
        for node in plan.of_type(SinkNode, RouteNode)
        if node.partition is not None or node.partition_function
        for topic in written_by(node)
    }
    for keyed in plan.of_type(AggregateNode, DedupeNode, JoinNode, LookupNode, TopicTableNode):
        for topic in (topic for step in inputs_of(keyed) for topic in origins(plan, step)):
            if isinstance(topic, TopicNode) and topic.name in ruled and topic.key is not None and topic.partitions > 1:
                raise DeclarationError(
                    f"{keyed.id!r} goes by {topic.key!r}, the key of topic {topic.name!r}, but "
                    f"{ruled[topic.name]} chooses its partitions by another rule: declare the topic without key, so "
                    "that records are brought together, or with the rule as its partitioner."
                )


def _place(plan: Plan, step: str) -> str | None:
    """Return `file:line` of a step's function, where the plan has it."""
    function = plan.functions.get(step)
    code = getattr(inspect.unwrap(function), "__code__", None) if function else None
    return f"{code.co_filename}:{code.co_firstlineno}" if code else None
