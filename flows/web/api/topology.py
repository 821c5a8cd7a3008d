"""`/api/topology`: what the app reads, computes, keeps and writes, to be drawn; the rates are in `/api/status`."""

from __future__ import annotations

import msgspec
from aiohttp import web

from dsl.plan.arrows import Arrow, arrows
from dsl.plan.graph import Plan, writing_half
from dsl.plan.nodes import Node, RepartitionNode, TopicNode
from dsl.plan.words import path_of, words
from flows.web.answers import answer
from flows.web.base import CONTEXT
from flows.web.endpoint import Endpoint


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A step of the plan, as the arrows name it.

    `kind` is the kind of its node, such as "topic", "filter", "agent" or "aggregate"; `about` says in a line what it
    does; `path` is "columnar", "row", or "" where nothing runs. `topic` is the topic that it is, for a repartition too,
    and `part` the sub-topology that runs it.
    """

    id: str
    kind: str
    about: str
    path: str = ""
    topic: str | None = None
    part: str | None = None


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A sub-topology: its tasks, one of each partition, read the `inputs`, which are topics."""

    name: str
    partitions: int
    inputs: tuple[str, ...]
    tasks: tuple[str, ...]


class Topology(msgspec.Struct, frozen=True, kw_only=True):
    """An app's plan as a graph."""

    app: str
    parts: list[Part]
    steps: list[Step]
    arrows: list[Arrow]


def endpoints() -> list[Endpoint]:
    """Return `GET /api/topology`."""
    return [Endpoint(method="GET", path="/api/topology", handler=show_topology, answer=Topology)]


async def show_topology(request: web.Request) -> web.Response:
    """Describe the app's plan as a graph: steps, and what goes from one to another."""
    return answer(topology_of(request.app[CONTEXT].plan))


def topology_of(plan: Plan) -> Topology:
    """Return a plan as a graph."""
    parts = {step: part.name for part in plan.subtopologies for step in part.steps}
    return Topology(
        app=plan.app,
        parts=[
            Part(name=p.name, partitions=p.partitions, inputs=p.inputs, tasks=tuple(p.task_ids()))
            for p in plan.subtopologies
        ],
        steps=[step for node in plan.nodes.values() for step in _steps(plan, node, parts)],
        arrows=list(arrows(plan)),
    )


def _steps(plan: Plan, node: Node, parts: dict[str, str]) -> list[Step]:
    kind = str(type(node).__struct_config__.tag)
    if isinstance(node, RepartitionNode):
        # It is read by other tasks than those that write it: its id stands for the topic between them.
        write = writing_half(node.id)
        return [
            Step(id=write, kind=kind, about=words(node), path=path_of(plan, node), part=parts.get(write)),
            Step(id=node.id, kind="topic", about="between tasks", topic=node.topic, part=parts.get(node.id)),
        ]
    topic = node.name if isinstance(node, TopicNode) else None
    # A topic is nobody's: what is read in one sub-topology may be written by another.
    part = None if topic else parts.get(node.id)
    return [Step(id=node.id, kind=kind, about=words(node), path=path_of(plan, node), topic=topic, part=part)]
