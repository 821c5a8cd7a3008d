"""The plan as a person reads it: text for the terminal, Mermaid for a page, JSON for tools.

All three are functions of the plan alone, so that golden files can hold them.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from dsl.plan.graph import Plan, SubTopology
from dsl.plan.mermaid import explain_mermaid as explain_mermaid
from dsl.plan.nodes import AggregateNode, GlobalTableNode, JoinNode, Node, RepartitionNode, TopicNode, inputs_of
from dsl.plan.wire import plan_from_json as plan_from_json
from dsl.plan.wire import plan_to_builtins
from dsl.plan.words import call_words, partitions, path_of, words


def explain_json(plan: Plan) -> str:
    """Print all of a plan as indented JSON; `plan_from_json` reads it back."""
    text: bytes = msgspec.json.format(msgspec.json.encode(plan_to_builtins(plan)), indent=2)
    return text.decode() + "\n"


def explain_text(plan: Plan) -> str:
    """Print each sub-topology with its topics, steps, paths and tables, one step a line."""
    blocks = [[f"app {plan.app}"]]
    for sub in plan.subtopologies:
        blocks.append([f"sub-topology {sub.name}: {partitions(sub.partitions)}", *_sub_lines(plan, sub)])
    whole = list(plan.of_type(GlobalTableNode))
    if whole:
        blocks.append(
            ["global tables, whole on every worker", *(line for node in whole for line in _whole(plan, node))]
        )
    outside = plan.steps_outside()
    if outside:
        blocks.append(["outside of tasks", *(_step_line(plan, node.id, node) for node in outside)])
    read = plan.topics_read()
    written = [t for t in plan.of_type(TopicNode) if t.name not in read]
    if written:
        lines = [f"  {t.name} ({partitions(t.partitions)}): {words(t)}" for t in written]
        blocks.append(["topics that no step reads", *lines])
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _whole(plan: Plan, node: GlobalTableNode) -> Iterator[str]:
    topic = plan.nodes[node.topic]
    assert isinstance(topic, TopicNode)
    yield _line("reads", f"{topic.name} ({partitions(topic.partitions)})", words(topic))
    yield _line("keeps", f"{node.id} <- {node.topic}", words(node))


def _sub_lines(plan: Plan, sub: SubTopology) -> Iterator[str]:
    for step, node in plan.ordered_steps(sub):
        if isinstance(node, TopicNode):
            yield _line("reads", node.name, words(node))
        elif isinstance(node, RepartitionNode) and step == node.id:
            yield _line("reads", step, f"{node.topic}({node.schema}), keyed by {', '.join(node.keys)}, internal")
        elif isinstance(node, AggregateNode):
            window = "" if node.window is None else f", {node.window}"
            yield _line("columnar", f"{step} <- {node.input}", f"table by {', '.join(node.keys)}{window}")
            yield from (f"{'':15}{call_words(c)}: {c.result}" for c in node.aggregates)
            if (late := plan.late_topic(node.table)) is not None:
                yield f"{'':15}late records to {late.name}"
        else:
            yield _step_line(plan, step, node)
            if isinstance(node, JoinNode) and (late := plan.late_topic(node.id)) is not None:
                yield f"{'':15}late records to {late.name}"


def _step_line(plan: Plan, step: str, node: Node) -> str:
    source = "".join(f" {arrow} {i}" for arrow, i in zip(("<-", "and"), inputs_of(node), strict=False))
    return _line(path_of(plan, node) or "keeps", step + source, words(node))


def _line(path: str, what: str, does: str) -> str:
    return f"  {path:8}  {what}: {does}"
