"""What a topic takes, known before anything is sent: a refusal in the middle of a transaction costs all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from functools import partial
from typing import NamedTuple

from flows.brokers.base import Outgoing, TopicPartition
from flows.brokers.kafka.cluster import Cluster
from flows.brokers.kafka.retry import persist
from flows.brokers.kafka.topics import Topics, partitions_exist
from flows.errors import BrokerError, RecordTooLarge

OVERHEAD = 1024
"""Bytes of a batch that are left for its own header, the record's lengths, and short record headers."""

DEFAULT_BATCH_BYTES = 1_048_588  # Kafka's own default of message.max.bytes


class _Limit(NamedTuple):
    batch_bytes: int
    compact: bool


class Limits:
    """The limits of topics, asked once each."""

    def __init__(self, cluster: Cluster, topics: Topics) -> None:
        self._cluster, self._topics = cluster, topics
        self._known: dict[str, _Limit] = {}
        self._learning = asyncio.Lock()

    def forget(self, topic: str) -> None:
        """Ask anew next time."""
        self._known.pop(topic, None)

    def batch_bytes(self, tp: TopicPartition) -> int:
        """Return how large a batch for a partition may be; it must have been checked before."""
        return self._known[tp.topic].batch_bytes

    async def check(self, outputs: Mapping[TopicPartition, Outgoing]) -> None:
        """Raise `UnknownTopic`, `RecordTooLarge` or `BrokerError` when these records cannot be written."""
        await partitions_exist(self._cluster, outputs)
        unknown = {tp.topic for tp in outputs if tp.topic not in self._known}
        if unknown:
            await self._learn(unknown)
        for tp, out in outputs.items():
            self._check(tp, out)

    async def _learn(self, topics: Iterable[str]) -> None:
        async with self._learning:  # thousands of calls may be the first to a topic: one of them asks
            for topic in topics:
                if topic not in self._known:
                    doing = f"cannot read the settings of topic {topic!r}"
                    found = await persist(doing, partial(self._topics.limits, topic))
                    most = int(found.get("max.message.bytes", DEFAULT_BATCH_BYTES))
                    self._known[topic] = _Limit(most, "compact" in found.get("cleanup.policy", ""))

    def _check(self, tp: TopicPartition, out: Outgoing) -> None:
        limit = self._known[tp.topic]
        most = limit.batch_bytes - OVERHEAD
        sizes = [len(key or b"") + len(value or b"") for key, value in zip(out.keys, out.values, strict=True)]
        if sizes and max(sizes) > most:
            raise _too_large(tp, max(sizes), most)
        for size, headers in zip(sizes, out.headers or (), strict=False):
            extra = sum(len(name) * 4 + len(value) + 10 for name, value in headers)
            if extra > OVERHEAD // 2 and size + extra > most:
                raise _too_large(tp, size + extra, most)
        if limit.compact and None in out.keys:
            raise BrokerError(
                f"{tp}: a record without a key in a compacted topic", fix="give it a key, or use another topic"
            )


def _too_large(tp: TopicPartition, size: int, most: int) -> RecordTooLarge:
    return RecordTooLarge(
        f"{tp}: a record of {size} bytes, more than {most}",
        fix="raise max.message.bytes of the topic, or send smaller records",
    )
