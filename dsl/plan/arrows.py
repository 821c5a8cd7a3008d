"""Who hands what to whom in a plan: the arrows of every picture of it.

Ends are ids of nodes; of a repartition the writing half is one of its own (`writing_half`), its id is the topic.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from dsl.plan.graph import Plan, writing_half
from dsl.plan.nodes import (
    AggregateNode,
    GlobalLookupNode,
    GlobalTableNode,
    JoinNode,
    RepartitionNode,
    TopicNode,
    inputs_of,
    tables_of,
    written_by,
)

Carries = Literal["records", "table", "lookup", "late"]


class Arrow(msgspec.Struct, frozen=True):
    """From step to step: `records` as they go, a `table` that an agent reads and writes, a `lookup`, `late` records."""

    start: str
    end: str
    carries: Carries = "records"


def arrows(plan: Plan) -> Iterator[Arrow]:
    """Yield all arrows, in the order in which their steps were declared.

    >>> list(arrows(Plan("empty", ())))
    []
    """
    topics = {t.name: t.id for t in plan.of_type(TopicNode)}
    for node in plan.nodes.values():
        here = writing_half(node.id) if isinstance(node, RepartitionNode) else node.id
        yield from (Arrow(i, here) for i in inputs_of(node))
        yield from (Arrow(here, t, "table") for t in tables_of(node))
        if isinstance(node, GlobalTableNode):
            yield Arrow(node.topic, here)
        if isinstance(node, GlobalLookupNode):
            yield Arrow(node.table, here, "lookup")
        if isinstance(node, RepartitionNode):
            yield Arrow(here, node.id)
        yield from (Arrow(here, topics[t]) for t in written_by(node))
        if isinstance(node, AggregateNode | JoinNode) and (late := plan.late_topic(node.id)) is not None:
            yield Arrow(here, late.id, "late")
