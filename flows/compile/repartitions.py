"""Compiling what sends records to where those of their key are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsl.changes import SIGN
from dsl.plan.nodes import AggregateNode, JoinNode, LookupNode, RepartitionNode, TopicNode, inputs_of
from flows.compile.joins import side_step
from flows.compile.texts import kept_texts
from flows.compile.values import key_types
from flows.decode.message_keys import PartitionClaim, encode_message_key
from flows.operate.base import FrameStep
from flows.operate.foreign_join import HASH, HOME
from flows.operate.regroup import without_null_keys_gone
from flows.operate.stateless import filter_step, group_step
from flows.route.partitioner import Partitioner
from flows.route.repartition import RepartitionWriter
from flows.state.keys import KeyCodec

if TYPE_CHECKING:
    from flows.compile.task import TaskCompiler


def build_repartition(compiler: TaskCompiler, node: RepartitionNode) -> FrameStep:
    """Build the writing half of a repartition."""
    context, consumers = compiler.context, compiler.plan.consumers(node.id)
    encode = KeyCodec(key_types(node.schema, node.keys)).encode_columns
    writer = RepartitionWriter(
        node.id,
        node.topic,
        node.partitions,
        context.partition,
        node.keys,
        node.schema.names,
        encode_keys=_as_message_keys if node.by_message_key else encode,
        now_ms=context.now_ms,
        outputs=compiler.outbox,
        dead=compiler.dead,
        max_bytes=context.max_record_bytes,
        home=HOME if HOME in node.schema else None,
    )
    compiler.branch.writers.append(writer)
    # Refused here rather than behind the internal topic, where the record they came from is out of reach.
    if isinstance(consumers[0], JoinNode):
        return side_step(compiler, consumers[0], inputs_of(consumers[0]).index(node.id), writer.process, node.id)
    if isinstance(consumers[0], LookupNode) or HASH in node.schema:
        return writer.process
    windowed = any(isinstance(c, AggregateNode) and c.window for c in consumers)
    tables = (c for c in consumers if isinstance(c, AggregateNode))
    texts = [text for table in tables for text in kept_texts(table, node.schema, context.max_record_bytes)]
    then = group_step(node.id, node.keys, windowed, compiler.dead, writer.process, texts)
    return then if SIGN not in node.schema else filter_step(without_null_keys_gone(SIGN, node.keys), then)


def place_check(compiler: TaskCompiler, node: TopicNode) -> PartitionClaim | None:
    """Return the check of a topic's partitioner, where its records meet others of the same key."""
    meets = any(isinstance(compiler.plan.nodes.get(s), JoinNode | LookupNode) for s in compiler.context.part.steps)
    if node.partitioned_by != "murmur2" or node.partitioner or node.partitions == 1 or not meets:
        return None
    return PartitionClaim(node.name, compiler.context.partition, Partitioner(node.partitions).of)


def _as_message_keys(columns: list[list[Any]]) -> list[bytes]:
    (column,) = columns
    return [encode_message_key(value) or b"" for value in column]
