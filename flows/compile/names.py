"""The names of internal topics and of the tables in a task's store."""

from __future__ import annotations

from dsl.plan.graph import Plan, SubTopology, late_topic_name
from dsl.plan.nodes import (
    AgentNode,
    AggregateNode,
    AnswerNode,
    ChangesNode,
    DedupeNode,
    GlobalTableNode,
    JoinNode,
    RepartitionNode,
    TableJoinNode,
    TableNode,
    TopicNode,
    TopicTableNode,
    dues_id,
)
from dsl.window import CountWindow, SessionWindow, SlidingWindow
from flows.brokers.base import TopicSpec

VERSIONS = ".versions"
"""Suffix of the store table that keeps the older values of a topic's table."""

TAKEN = ".taken"
"""Suffix of the store table that keeps what an agent's unfinished `take` holds."""


INDEX, POINTS, ENDS = ".index", ".points", ".ends"
"""Suffixes of store tables beside a table: of each key, which windows are open; of each event time, the aggregates; of
complete windows, when they ended."""

LEFT, RIGHT = ".left", ".right"
"""Suffixes of the store tables that keep the records of a join's sides; `ENDS` has them in the order of their ends."""

BEGUN = ".begun"
"""Suffix of the store table that tells that a join of tables has looked at all rows of its sides."""

NUMBERS = ".numbers"
"""Suffix of the store table that keeps the number of the next row that a stream of changes tells."""

DUES = ".dues"
"""Suffix of the store table that has the timers of keys in the order of time."""

HIDDEN = frozenset({DUES, INDEX, POINTS, ENDS, LEFT, RIGHT, NUMBERS})
"""All suffixes of store tables that belong to another table or to a join."""

_HIDDEN: dict[type, tuple[str, ...]] = {
    SessionWindow: (INDEX,),
    SlidingWindow: (INDEX, POINTS),
    CountWindow: (INDEX, ENDS),
}


def changelog(app: str, store_table: str) -> str:
    """Name the changelog topic of a table of the store."""
    return f"{app}-{store_table}-changelog"


def reply_topic(app: str) -> str:
    """Name the topic of answers to questions: made at the first one."""
    return f"{app}-replies"


def dead_letters(app: str) -> str:
    """Name the app's dead-letter topic."""
    return f"{app}-dead-letters"


def late_topics(plan: Plan, name: str) -> list[str]:
    """Name the topics that get the late records of a table or a join: its own, and those of the tables made of it."""
    joined = [n.table for n in plan.of_type(TableJoinNode) if n.window is not None and name in (n.left, n.right)]
    further = [topic for table in joined for topic in late_topics(plan, table)]
    return list(dict.fromkeys([late_topic_name(plan.app, name), *further]))


def global_store(table: str) -> str:
    """Name the store of a worker's copy of a global table, as tasks name theirs."""
    return f"global:{table}/copy"


def store_tables(plan: Plan, part: SubTopology) -> dict[str, str]:
    """Return the tables of a sub-topology's stores, each with the plan's table, join or agent that it belongs to."""
    found: dict[str, str] = {}
    for step in part.steps:
        node = plan.nodes.get(step)
        if isinstance(node, AggregateNode | TableNode):
            found[node.table] = node.table
            if isinstance(node, TableNode) and node.timer:
                found[dues_id(node.table)] = node.table
            if isinstance(node, AggregateNode):
                found.update((node.table + suffix, node.table) for suffix in _HIDDEN.get(type(node.window), ()))
        elif isinstance(node, TopicTableNode):
            found[node.table] = node.table
            if node.history is not None:
                found[node.table + VERSIONS] = node.table
        elif isinstance(node, JoinNode):
            found.update((node.id + suffix, node.id) for suffix in (LEFT, RIGHT, ENDS))
        elif isinstance(node, TableJoinNode):
            found.update({node.table: node.table, node.table + BEGUN: node.table})
        elif isinstance(node, AnswerNode):
            found[node.id] = node.owner
        elif isinstance(node, ChangesNode):
            found[node.id + NUMBERS] = _owner(plan, node)
        elif isinstance(node, DedupeNode):
            found.update({node.table: node.table, node.table + INDEX: node.table})
        elif isinstance(node, AgentNode):
            found[node.id + TAKEN] = node.id
    return found


def _owner(plan: Plan, node: ChangesNode) -> str:
    """Return the table that is begun anew where the numbering of changes is: one over rows is told of all of them."""
    if node.asks:
        return node.asks
    if not node.retract:
        return node.table
    (after,) = plan.consumers(node.id)
    table = after if isinstance(after, AggregateNode) else plan.consumers(after.id)[0]
    assert isinstance(table, AggregateNode)
    return table.table


def topic_specs(plan: Plan) -> list[TopicSpec]:
    """Return all topics that a plan needs, declared and internal."""
    whole = {node.topic for node in plan.of_type(GlobalTableNode)}
    specs = [
        TopicSpec(
            name=t.name,
            partitions=t.partitions,
            cleanup="compact" if t.id in whole and t.any_retention else "delete",
            retention=None if t.retention is None else t.retention / 1_000_000,
            internal=t.internal,
            any_retention=t.any_retention,
        )
        for t in plan.of_type(TopicNode)
    ]
    declared = {s.name for s in specs}
    specs += [
        TopicSpec(name=r.topic, partitions=r.partitions, retention=None, internal=True)
        for r in plan.of_type(RepartitionNode)
    ]
    specs.append(TopicSpec(name=dead_letters(plan.app), retention=None, internal=True))
    for part in plan.subtopologies:
        for table in store_tables(plan, part):
            name = changelog(plan.app, table)
            specs.append(TopicSpec(name=name, partitions=part.partitions, cleanup="compact", internal=True))
        for node in (plan.nodes[s] for s in part.steps if s in plan.nodes):
            windowed = isinstance(node, AggregateNode | TableNode | TableJoinNode) and node.window is not None
            if windowed or isinstance(node, JoinNode):
                name = late_topic_name(plan.app, node.id)
                if name not in declared:
                    specs.append(TopicSpec(name=name, partitions=part.partitions, internal=True))
    return specs
