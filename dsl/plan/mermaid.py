"""The plan as a Mermaid flowchart: a box per sub-topology, topics as cylinders, tables as framed boxes."""

from __future__ import annotations

from collections.abc import Iterator

from dsl.plan.arrows import arrows
from dsl.plan.graph import Plan, writing_half
from dsl.plan.nodes import (
    AgentNode,
    AggregateNode,
    GlobalTableNode,
    Node,
    RepartitionNode,
    TableJoinNode,
    TableNode,
    TopicNode,
    TopicTableNode,
)
from dsl.plan.words import partitions, path_of, words

_TABLE = ('[["', '"]]')
_SHAPES = {
    TopicNode: ('[("', '")]'),
    AgentNode: ('(["', '"])'),
    **dict.fromkeys((AggregateNode, TableJoinNode, TopicTableNode, TableNode, GlobalTableNode), _TABLE),
}
_ARROWS = {"records": "-->", "table": "<-.->", "lookup": "-.->", "late": "-- late -->"}
_LABEL = 120


def explain_mermaid(plan: Plan) -> str:
    """Print a plan as a Mermaid flowchart, from topics on the left to topics on the right."""
    return "\n".join(["flowchart LR", *_boxes(plan), *_arrows(plan)]) + "\n"


def _boxes(plan: Plan) -> Iterator[str]:
    names = _names(plan)
    yield from (_box(names[t.id], t, t.name, partitions(t.partitions)) for t in plan.of_type(TopicNode))
    for repartition in plan.of_type(RepartitionNode):
        yield f'  {names[repartition.id]}[("{_text(repartition.topic)}<br/>{partitions(repartition.partitions)}")]'
    for number, sub in enumerate(plan.subtopologies):
        yield f'  subgraph s{number}["{_text(sub.name)} · {partitions(sub.partitions)}"]'
        for step, node in plan.ordered_steps(sub):
            if not isinstance(node, TopicNode) and not (isinstance(node, RepartitionNode) and step == node.id):
                yield "  " + _box(names[step], node, step, words(node), path_of(plan, node))
        yield "  end"
    beside = [*plan.of_type(GlobalTableNode), *plan.steps_outside()]
    yield from (_box(names[n.id], n, n.id, words(n), path_of(plan, n)) for n in beside)


def _arrows(plan: Plan) -> Iterator[str]:
    names = _names(plan)
    yield from (f"  {names[a.start]} {_ARROWS[a.carries]} {names[a.end]}" for a in arrows(plan))


def _names(plan: Plan) -> dict[str, str]:
    # Step ids may hold any of ". - _", which Mermaid reads as syntax: number the nodes instead.
    halves = (writing_half(r.id) for r in plan.of_type(RepartitionNode))
    return {step: f"n{i}" for i, step in enumerate([*plan.nodes, *halves])}


def _box(name: str, node: Node, *lines: str) -> str:
    opening, closing = _SHAPES.get(type(node), ('["', '"]'))
    return f"  {name}{opening}{'<br/>'.join(_text(line) for line in lines if line)}{closing}"


def _text(text: str) -> str:
    short = text if len(text) <= _LABEL else text[: _LABEL - 1] + "…"
    for mark, entity in (("#", "#35;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;"), ("`", "#96;")):
        short = short.replace(mark, entity)
    return short
