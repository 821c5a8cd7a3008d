"""The plan as a graph: its nodes by id, and the sub-topologies that become tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import msgspec

from dsl.errors import DeclarationError
from dsl.plan.nodes import (
    AggregateNode,
    DeclaredTable,
    DedupeNode,
    GlobalTableNode,
    JoinNode,
    MergeNode,
    Node,
    RepartitionNode,
    SourceNode,
    TableJoinNode,
    TableNode,
    TaskNode,
    TimerNode,
    TopicNode,
    TopicTableNode,
    inputs_of,
    tables_of,
)


class SubTopology(msgspec.Struct, frozen=True):
    """Steps that share tasks: all that is connected without passing through a topic.

    `inputs` maps each topic it reads to the step ids fed by it. A task is one partition number of it.
    """

    name: str
    partitions: int
    inputs: tuple[str, ...]
    steps: tuple[str, ...]

    def task_ids(self) -> list[str]:
        return [f"{self.name}/{p}" for p in range(self.partitions)]


class Plan:
    """All that an app declares. Compare, print and store it; the engine compiles it.

    `functions` holds the callables by step id, `types` the Record classes by topic id; neither is part of the
    plan's identity.
    """

    def __init__(
        self,
        app: str,
        nodes: tuple[Node, ...],
        functions: Mapping[str, Callable[..., Any]] | None = None,
        types: Mapping[str, Any] | None = None,
    ) -> None:
        self.app = app
        self.nodes: dict[str, Node] = {n.id: n for n in nodes}
        self.functions = dict(functions or {})
        self.types = dict(types or {})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and (self.app, self.nodes) == (other.app, other.nodes)

    __hash__ = None  # type: ignore[assignment]

    def of_type(self, *types: type) -> Iterator[Any]:
        """Yield the nodes of some types in declared order."""
        return (n for n in self.nodes.values() if isinstance(n, types))

    def consumers(self, step: str) -> list[Node]:
        """Return the nodes that read a step's output."""
        return [n for n in self.nodes.values() if step in inputs_of(n)]

    def topic(self, name: str) -> TopicNode | None:
        """Find a declared topic by its broker name."""
        return next((t for t in self.of_type(TopicNode) if t.name == name), None)

    def late_topic(self, table: str) -> TopicNode | None:
        """Find the topic of a table's or a join's late records, where the app has asked for it."""
        return self.topic(late_topic_name(self.app, table))

    def table_nodes(self) -> dict[str, DeclaredTable | TableNode]:
        """Return all tables by name."""
        return {
            n.table: n for n in self.of_type(AggregateNode, TableJoinNode, TopicTableNode, GlobalTableNode, TableNode)
        }

    def stored_nodes(self) -> dict[str, DeclaredTable | TableNode | JoinNode | DedupeNode]:
        """Return all that keeps rows in a task's store, by name: tables, joins, and dedupes."""
        return {**self.table_nodes(), **{n.id: n for n in self.of_type(JoinNode, DedupeNode)}}

    @cached_property
    def subtopologies(self) -> tuple[SubTopology, ...]:
        """Cut the plan at its topics.

        Raises `DeclarationError` when topics that meet in one sub-topology differ in partitions.
        """
        return tuple(self._subtopology(steps) for steps in self._components())

    def subtopology_of(self, step: str) -> SubTopology:
        """Return the sub-topology that runs a step (of a repartition: the one that reads it)."""
        return next(s for s in self.subtopologies if step in s.steps)

    def ordered_steps(self, sub: SubTopology) -> list[tuple[str, Node]]:
        """Return a sub-topology's steps with their nodes, every step after those it reads."""
        rank = {step: i for i, name in enumerate(self.nodes) for step in (name, writing_half(name))}
        halves = {writing_half(r.id): r for r in self.of_type(RepartitionNode)}
        return [(s, halves[s] if s in halves else self.nodes[s]) for s in sorted(sub.steps, key=rank.__getitem__)]

    def steps_outside(self) -> list[Node]:
        """Return what runs or is kept in no task: sources, timers without tables, tables that nothing touches."""
        inside = {step for sub in self.subtopologies for step in sub.steps}
        return [n for n in self.nodes.values() if n.id not in inside and not isinstance(n, TopicNode | GlobalTableNode)]

    def topics_read(self) -> set[str]:
        """Return the names of the topics that tasks or global tables read."""
        whole = {node.topic for node in self.of_type(GlobalTableNode)}
        return {t.name for t in self.of_type(TopicNode) if t.id in whole or self.consumers(t.id)}

    def _components(self) -> list[list[str]]:
        leader: dict[str, str] = {}

        def find(step: str) -> str:
            while leader.setdefault(step, step) != step:
                step = leader[step]
            return step

        def join(a: str, b: str) -> None:
            leader[find(b)] = find(a)

        for node in self.nodes.values():
            if isinstance(node, SourceNode | TaskNode) or (isinstance(node, TimerNode) and not node.tables):
                continue
            for near in (*inputs_of(node), *tables_of(node)):
                # A repartition is read by the far side; the near side ends in its writing half.
                join(near, writing_half(node.id) if isinstance(node, RepartitionNode) else node.id)
            if isinstance(node, RepartitionNode):
                find(node.id)
        read = {s for n in self.nodes.values() for s in inputs_of(n)}
        groups: dict[str, list[str]] = {}
        for step in [*self.nodes, *(writing_half(r.id) for r in self.of_type(RepartitionNode))]:
            if step in leader:
                groups.setdefault(find(step), []).append(step)
        return [g for g in groups.values() if any(s in read for s in g)]

    def _subtopology(self, steps: list[str]) -> SubTopology:
        read = {i for n in self.nodes.values() for i in inputs_of(n)}
        topics: dict[str, int] = {}
        for step in steps:
            node = self.nodes.get(step)
            if isinstance(node, TopicNode) and step in read:
                topics[node.name] = node.partitions
            elif isinstance(node, RepartitionNode):
                topics[node.topic] = node.partitions
        if len(set(topics.values())) > 1:
            counts = ", ".join(f"{t} has {p}" for t, p in topics.items())
            shared = sorted({t for s in steps if s in self.nodes for t in tables_of(self.nodes[s])})
            merged = sorted(s for s in steps if isinstance(self.nodes.get(s), MergeNode))
            through = f" through table {', '.join(shared)}" if shared else f" in {', '.join(merged)}" if merged else ""
            raise DeclarationError(
                f"topics that share tasks{through} must have the same number of partitions: {counts}."
            )
        kept = [name for name, node in self.stored_nodes().items() if node.id in steps]
        first = next(iter(topics))
        name = first if any(t in self._topic_names for t in topics) else min(kept, default=first)
        return SubTopology(name, next(iter(topics.values())), tuple(topics), tuple(steps))

    @cached_property
    def _topic_names(self) -> set[str]:
        return {t.name for t in self.of_type(TopicNode)}


def late_topic_name(app: str, table: str) -> str:
    """Name the topic that gets the late records of a table."""
    return f"{app}-{table}-late"


def writing_half(repartition: str) -> str:
    """Name the half of a repartition that runs in the tasks before it."""
    return f"{repartition}.write"
