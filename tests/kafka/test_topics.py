"""Topics as they are made in Kafka, and existing ones held against what is declared."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from flows.brokers.base import Broker, Outgoing, TopicPartition, TopicSpec
from flows.errors import BrokerError, TopicMismatch
from tests.contracts.broker_fixtures import Handles, read_all, values
from tests.kafka.cluster import Cluster, unique

DAY = 86_400.0


def _told(cluster: Cluster, name: str) -> str:
    """Return what Kafka's own tool tells of a topic."""
    told = cluster.tool("TopicCommand", "--describe", "--topic", name)
    return "\n".join(line for line in told.splitlines() if f"Topic: {name}" in line)


async def test_a_topic_is_made_as_declared(kafka: Cluster, broker: Broker) -> None:
    name = unique("topic")
    await broker.create_topic(TopicSpec(name=name, partitions=3, retention=2 * DAY))

    told = _told(kafka, name)

    assert "PartitionCount: 3" in told
    assert "ReplicationFactor: 1" in told
    assert "cleanup.policy=delete" in told
    assert "retention.ms=172800000" in told
    assert "message.timestamp.type=CreateTime" in told


async def test_a_changelog_is_compacted_only(kafka: Cluster, broker: Broker) -> None:
    name = unique("app-counts") + "-changelog"
    await broker.create_topic(TopicSpec(name=name, cleanup="compact", internal=True, tombstone_retention=DAY))

    assert "delete.retention.ms=86400000" in _told(kafka, name)
    assert (await broker.topics())[name].cleanup == "compact"
    assert (await broker.topics())[name].internal


async def test_an_internal_topic_loses_nothing_by_the_age_of_its_events(kafka: Cluster, broker: Broker) -> None:
    name = unique("app-counts") + "-late"
    await broker.create_topic(TopicSpec(name=name, internal=True, retention=DAY))

    assert "retention.ms=-1" in _told(kafka, name)
    await broker.create_topic(TopicSpec(name=name, internal=True, retention=DAY))


@pytest.mark.parametrize("timestamp", [-5, 0, 4_102_444_800_000])
async def test_events_of_any_time_are_taken(broker: Broker, timestamp: int) -> None:
    tp = TopicPartition(unique("topic"), 0)
    await broker.create_topic(TopicSpec(name=tp.topic, retention=None))

    await broker.produce({tp: Outgoing([b"k"], [b"v"], [timestamp])})

    assert [list(records.timestamps) for records in await read_all(broker, tp)] == [[timestamp]]


async def test_a_topic_with_other_settings_is_left_alone_and_named(kafka: Cluster, broker: Broker) -> None:
    name = unique("theirs")
    kafka.tool("TopicCommand", "--create", "--topic", name, "--partitions", "2", "--config", "retention.ms=3600000")
    before = _told(kafka, name)

    for spec, told in [
        (TopicSpec(name=name, partitions=4, retention=3600.0), "partitions is 2, wanted 4"),
        (TopicSpec(name=name, partitions=2, retention=DAY), "retention is 3600.0, wanted 86400.0"),
        (TopicSpec(name=name, partitions=2, cleanup="compact"), "cleanup is 'delete', wanted 'compact'"),
    ]:
        with pytest.raises(TopicMismatch, match=re.escape(told)):
            await broker.create_topic(spec)
    await broker.create_topic(TopicSpec(name=name, partitions=2, retention=3600.0))

    assert _told(kafka, name) == before


async def test_a_topic_of_both_policies_is_no_changelog(kafka: Cluster, broker: Broker) -> None:
    name = unique("app-counts") + "-changelog"
    kafka.tool("TopicCommand", "--create", "--topic", name, "--config", "cleanup.policy=compact,delete")

    with pytest.raises(TopicMismatch, match="cleanup is 'compact,delete', wanted 'compact'"):
        await broker.create_topic(TopicSpec(name=name, cleanup="compact", internal=True))


async def test_more_copies_than_brokers_are_told(kafka: Cluster) -> None:
    handles = Handles(kafka.url)
    broker = await handles.open(kafka_replication=3)
    try:
        with pytest.raises(BrokerError, match=r"with 3 copies: .*; set kafka_replication"):
            await broker.create_topic(TopicSpec(name=unique("topic")))
    finally:
        await handles.close()


async def test_three_brokers_keep_three_copies(kafka_three: Cluster, opened: Callable[[Cluster], Handles]) -> None:
    broker, name = await opened(kafka_three).open(), unique("app-counts") + "-changelog"
    await broker.create_topic(TopicSpec(name=name, partitions=2, cleanup="compact", internal=True))

    told = _told(kafka_three, name)

    assert "ReplicationFactor: 3" in told
    assert "min.insync.replicas=2" in told


async def test_what_log_append_time_says_is_read(kafka: Cluster, broker: Broker) -> None:
    tp = TopicPartition(unique("theirs"), 0)
    kafka.tool("TopicCommand", "--create", "--topic", tp.topic, "--config", "message.timestamp.type=LogAppendTime")
    before = broker.clock.now()  # type: ignore[attr-defined]

    await broker.produce({tp: Outgoing([b"k", b"k"], [b"1", b"2"], [1, 2])})

    (records,) = await read_all(broker, tp)
    assert values([records]) == [b"1", b"2"]
    assert all(stamp / 1000 > before - 60 for stamp in records.timestamps)
