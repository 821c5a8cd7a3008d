"""What compiling a task needs to know of the world it will run in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from dsl.plan.graph import Plan, SubTopology
from dsl.plan.nodes import GlobalTableNode, TopicNode, partition_rule
from flows.clock import Clock
from flows.compile.columns import schema_of_step
from flows.compile.expressions import frame_schema
from flows.compile.global_tables import Copies
from flows.decode.codecs import Codecs
from flows.decode.message_keys import encode_message_key
from flows.metrics import TaskMetrics
from flows.route.partitioner import CustomPartitioner, Partitioner
from flows.sink.base import PartitionOf
from flows.sink.encode import Encoders, TopicEncoder
from flows.state.task_state import TaskState


class TaskContext(msgspec.Struct, kw_only=True):
    """One task's surroundings.

    `partitions` are the real numbers of partitions of the plan's topics, `copies` the worker's of global tables.
    """

    plan: Plan
    part: SubTopology
    partition: int
    state: TaskState
    codecs: Codecs
    clock: Clock
    metrics: TaskMetrics
    max_ahead: float = 3600.0
    max_record_bytes: int = 1_000_000
    backoff: Callable[[int], Awaitable[None]]
    ask: Callable[..., Awaitable[Any]]
    copies: Copies = {}

    def now_ms(self) -> int:
        return int(self.clock.now() * 1000)

    def columns(self, step: str, names: set[str]) -> dict[str, Any]:
        """Return the wanted columns of a step with their polars types, in declared order."""
        dtypes = frame_schema(schema_of_step(self.plan, step))
        return {name: dtype for name, dtype in dtypes.items() if name in names}


def topic_encoders(plan: Plan, codecs: Codecs, max_bytes: int, now_ms: Callable[[], int]) -> Encoders:
    """Build the encoders of all declared topics."""
    whole = {node.topic for node in plan.of_type(GlobalTableNode)}
    return Encoders(
        {
            t.name: TopicEncoder(
                t,
                plan.types.get(t.id),
                codecs.of(t).encode,
                encode_message_key,
                partition_of(plan, t, t.partitions),
                max_bytes,
                now_ms,
                needs_key=t.id in whole,
            )
            for t in plan.of_type(TopicNode)
        }
    )


def partition_of(plan: Plan, topic: TopicNode, partitions: int) -> PartitionOf:
    """Return what chooses the partition of a key wherever Flows writes to a topic."""
    function = plan.functions.get(partition_rule(topic.id))
    if function is None:
        return Partitioner(partitions).of
    return CustomPartitioner(topic.name, partitions, topic.partitioner, function).of
