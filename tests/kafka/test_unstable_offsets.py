"""Positions that a transaction is about to move: who goes on from them waits for its end, who only looks does not."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as Place

from flows.brokers.base import Broker, Committed, TopicPartition, Transaction
from tests.contracts.broker_fixtures import Topics
from tests.kafka.cluster import Cluster, unique


async def test_a_look_does_not_wait_for_a_transaction(kafka: Cluster, broker: Broker, broker_topic: Topics) -> None:
    topic, group = await broker_topic(), unique("group")
    tp = TopicPartition(topic, 0)
    await (await broker.producer(group)).commit(Transaction(group=group, offsets={tp: Committed(1, "before")}))

    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=unique("slow")) as producer:
        await producer.begin_transaction()
        await producer.send_offsets_to_transaction({Place(topic, 0): 5}, group)
        settled = asyncio.create_task(broker.committed(group, [tp]))
        assert await broker.committed(group, [tp], stable=False) == {tp: Committed(1, "before")}
        assert not settled.done()
        await producer.commit_transaction()

    assert (await settled)[tp].offset == 5
    assert (await broker.committed(group, [tp], stable=False))[tp].offset == 5
