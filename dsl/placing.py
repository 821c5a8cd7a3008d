"""Where records lie: what chose the partitions of a stream's topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.plan.nodes import MapNode, MergeNode, RepartitionNode, TopicNode, inputs_of, partition_rule

if TYPE_CHECKING:
    from dsl.app import App


def place_of(app: App, step: str) -> tuple[str, str]:
    """Say what chose the partitions of a step's records: equal for equal choices by equal keys.

    Internal topics go by the canonical key, external ones that are declared so by the message key's murmur2 or by a
    partitioner; of the others it is unknown, but the same for all that comes from one topic.
    """
    node = app._nodes[step]
    while not isinstance(node, TopicNode | RepartitionNode | MapNode | MergeNode):
        node = app._nodes[inputs_of(node)[0]]
    if isinstance(node, MergeNode):
        places = {place_of(app, before) for before in node.inputs}
        return places.pop() if len(places) == 1 else ("merged", node.id)
    if isinstance(node, RepartitionNode) and node.by_message_key:
        return "message key", "murmur2"
    if isinstance(node, RepartitionNode):
        return ("key", "") if len(node.keys) == 1 else ("keys", node.id)
    if isinstance(node, TopicNode) and node.partitioner:
        return "partitioner", f"{node.partitioner} {id(app._functions[partition_rule(node.id)])}"
    if isinstance(node, TopicNode) and node.partitioned_by == "murmur2":
        return "message key", "murmur2"
    return "unknown", node.id
