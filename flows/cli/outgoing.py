"""From what a person types to records of a topic, which is created where it is declared and not there yet."""

from __future__ import annotations

from dsl.errors import nearest
from dsl.plan.graph import Plan
from dsl.plan.nodes import TopicNode
from flows.brokers.base import Broker, Outgoing, TopicPartition
from flows.compile.incoming import EventMaker, event_maker
from flows.compile.names import topic_specs
from flows.decode.codecs import Codecs
from flows.errors import UnknownTopic, UsageError


class RecordMaker:
    """Gather records of one topic, all of one key (None: the declared one), timestamp and partition (None: by key)."""

    def __init__(
        self, events: EventMaker, partitions: int, *, key: str | None, timestamp: int, partition: int | None
    ) -> None:
        if partition is not None and partition >= partitions:
            raise UsageError(f"topic {events.name!r} has no partition {partition}", fix=f"it has 0 to {partitions - 1}")
        self._events, self._timestamp, self._partition = events, timestamp, partition
        self._key = None if key is None else key.encode()
        self._waiting: dict[TopicPartition, Outgoing] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, text: bytes) -> None:
        """Add a record. Raises `FlowsError` that says what does not fit and where in the value (`$.path`)."""
        partition, key, value, _ = self._events.make(text, key=self._key, partition=self._partition)
        out = self._waiting.setdefault(TopicPartition(self._events.name, partition), Outgoing())
        out.append(key, value, self._timestamp)
        self._count += 1

    def take(self) -> tuple[dict[TopicPartition, Outgoing], int]:
        """Hand over the records added since the last call, and how many they are."""
        taken, self._waiting = self._waiting, {}
        count, self._count = self._count, 0
        return taken, count


async def record_maker(
    broker: Broker, plan: Plan, codecs: Codecs, topic: str, key: str | None, timestamp: int, partition: int | None
) -> RecordMaker:
    """Make the maker of a topic's records; a declared topic that the broker lacks is created, its schema registered.

    Raises `UnknownTopic` for one that is neither declared nor at the broker.
    """
    node = plan.topic(topic)
    there = await broker.topics()
    if topic not in there:
        spec = next((s for s in topic_specs(plan) if s.name == topic), None)
        if spec is None:
            raise unknown_topic(topic, plan, set(there))
        await broker.create_topic(spec)
        there[topic] = spec
    if node is not None:
        await codecs.open([node])
    partitions = there[topic].partitions
    events = event_maker(plan, codecs, topic, partitions, words="--key")
    return RecordMaker(events, partitions, key=key, timestamp=timestamp, partition=partition)


def unknown_topic(topic: str, plan: Plan, there: set[str]) -> UnknownTopic:
    """Make the error of a topic that is not there."""
    names = sorted(there | {t.name for t in plan.of_type(TopicNode)})
    close = nearest(topic, names)
    listed = ", ".join(n for n in names if not n.startswith(f"{plan.app}-")) or "none yet"
    return UnknownTopic(
        f"there is no topic {topic!r}", fix=f"did you mean {close!r}?" if close else f"topics: {listed}"
    )
