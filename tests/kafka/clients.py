"""A few lines of aiokafka for the harness's own tests: a topic, some records in, all records out."""

from __future__ import annotations

from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code

from tests.kafka.cluster import unique


async def make_topic(bootstrap: str, *, partitions: int = 1, replication: int = 1, **client: Any) -> str:
    """Create a topic that no other test has, and return its name."""
    name = unique("topic")
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, **client)
    try:
        await admin.start()
        answer = await admin.create_topics([NewTopic(name, partitions, replication)])
        for _, code, *_ in answer.topic_errors:
            if code:
                raise for_code(code)(f"{name} was not created")
    finally:
        await admin.close()
    return name


async def send(bootstrap: str, topic: str, *values: bytes, **client: Any) -> None:
    """Write values to partition 0, each acknowledged by all replicas in sync."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", **client)
    try:
        await producer.start()
        for value in values:
            await producer.send_and_wait(topic, value, partition=0)
    finally:
        await producer.stop()


async def read(bootstrap: str, topic: str, **client: Any) -> list[bytes]:
    """Return the committed values of partition 0, from its start to its end."""
    tp = TopicPartition(topic, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed", **client)
    try:
        await consumer.start()
        consumer.assign([tp])
        await consumer.seek_to_beginning(tp)
        end = (await consumer.end_offsets([tp]))[tp]
        found: list[bytes] = []
        while await consumer.position(tp) < end:
            found += [record.value for record in (await consumer.getmany(tp, timeout_ms=500)).get(tp, [])]
        return found
    finally:
        await consumer.stop()
