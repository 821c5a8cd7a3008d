"""When a worker that was asked to drain may stop."""

from __future__ import annotations

from dsl.plan.nodes import SourceNode
from flows.brokers.base import TopicPartition
from flows.run.environment import Environment
from flows.run.source_task import END, position_of, source_group


async def is_drained(env: Environment) -> bool:
    """Tell whether all sources are at their end and every input of every task is committed to its end.

    Positions are read before ends: what moves between the two reads shows as a difference. Holds for all workers of
    the group, since it looks at what is committed only.
    """
    for node in env.plan.of_type(SourceNode):
        place = position_of(node.topic)
        found = (await env.broker.committed(source_group(env.group, node.id), [place], stable=False)).get(place)
        if found is None or found.metadata != END:
            return False
    inputs = [
        TopicPartition(topic, partition)
        for part in env.plan.subtopologies
        for topic in part.inputs
        for partition in range(part.partitions)
    ]
    done = await env.broker.committed(env.group, inputs, stable=False)
    starts = await env.broker.start_offsets([tp for tp in inputs if tp not in done])
    ends = await env.broker.end_offsets(inputs)
    return all((done[tp].offset if tp in done else starts[tp]) >= ends[tp] for tp in inputs)
