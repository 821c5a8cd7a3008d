"""Writing at least once: records that are there at once, and offsets that follow them."""

from __future__ import annotations

import asyncio

import pytest

from flows.brokers.base import Broker, Committed, Outgoing, TopicPartition, Transaction
from flows.errors import Fenced, RecordTooLarge
from tests.contracts.broker_fixtures import Handles, Topics, outgoing, read_all, values


async def test_what_is_sent_is_there_before_any_commit(broker: Broker, broker_topic: Topics):
    topic = await broker_topic(partitions=2)
    a, b = TopicPartition(topic, 0), TopicPartition(topic, 1)
    appender = await broker.appender(f"{topic}-task")

    assert await appender.send({a: outgoing(1, 2), b: outgoing(3)}) == {a: 2, b: 1}

    assert values(await read_all(broker, a)) == [b"1", b"2"]
    assert values(await read_all(broker, b)) == [b"3"]
    assert await broker.committed(topic, [a, b]) == {}


async def test_the_commit_brings_its_records_and_the_positions(broker: Broker, broker_topic: Topics):
    tp, source = TopicPartition(await broker_topic(), 0), TopicPartition(await broker_topic("source"), 0)
    appender = await broker.appender(f"{tp}-task")
    await appender.send({tp: outgoing(1)})

    ends = await appender.commit(
        Transaction(group=tp.topic, outputs={tp: outgoing(2)}, offsets={source: Committed(7, "mark=5")})
    )

    assert ends == {tp: 2}
    assert values(await read_all(broker, tp)) == [b"1", b"2"]
    assert await broker.committed(tp.topic, [source]) == {source: Committed(7, "mark=5")}


async def test_what_is_sent_keeps_the_order_of_the_calls(broker: Broker, broker_topic: Topics):
    tp = TopicPartition(await broker_topic(), 0)
    appender = await broker.appender(f"{tp}-task")

    await asyncio.gather(*(appender.send({tp: outgoing(2 * n, 2 * n + 1)}) for n in range(30)))

    assert values(await read_all(broker, tp)) == [b"%d" % n for n in range(60)]


async def test_a_record_too_large_moves_no_position(broker: Broker, broker_topic: Topics):
    tp = TopicPartition(await broker_topic(), 0)
    appender = await broker.appender(f"{tp}-task")
    too_large = Outgoing([b"k"], [b"x" * (broker.max_record_bytes + 1)], [0])

    with pytest.raises(RecordTooLarge):
        await appender.send({tp: too_large})
    with pytest.raises(RecordTooLarge):
        await appender.commit(Transaction(group=tp.topic, outputs={tp: too_large}, offsets={tp: Committed(1)}))
    await appender.send({tp: outgoing(1)})

    assert values(await read_all(broker, tp)) == [b"1"]
    assert await broker.committed(tp.topic, [tp]) == {}


@pytest.mark.parametrize("transactional", [False, True])
async def test_a_newer_holder_of_the_id_fences_the_offsets_of_the_older(broker_handles: Handles, transactional: bool):
    mine, theirs = await broker_handles.open(), await broker_handles.open()
    tp = TopicPartition(await Topics(mine)(), 0)
    older = await mine.appender(f"{tp}-task")
    await older.commit(Transaction(group=tp.topic, outputs={tp: outgoing(1)}, offsets={tp: Committed(1)}))

    newer = await (theirs.producer if transactional else theirs.appender)(f"{tp}-task")
    with pytest.raises(Fenced, match=f"{tp}-task"):
        await older.commit(Transaction(group=tp.topic, offsets={tp: Committed(2)}))
    await newer.commit(Transaction(group=tp.topic, outputs={tp: outgoing(3)}, offsets={tp: Committed(3)}))

    assert await theirs.committed(tp.topic, [tp]) == {tp: Committed(3)}
    assert values(await read_all(theirs, tp)) == [b"1", b"3"]
