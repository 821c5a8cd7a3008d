"""Commits of tasks: records of several partitions and the group's positions, all or nothing, by one holder."""

from __future__ import annotations

import asyncio

import pytest

from flows.brokers.base import Broker, Committed, Outgoing, TopicPartition, Transaction
from flows.errors import BrokerError, Fenced, RecordTooLarge
from tests.contracts.broker_fixtures import Handles, Topics, outgoing, read_all, values


async def test_a_commit_appends_to_all_partitions_and_moves_the_positions(broker: Broker, broker_topic: Topics):
    topic, source = await broker_topic(partitions=2), TopicPartition(await broker_topic("source"), 0)
    a, b = TopicPartition(topic, 0), TopicPartition(topic, 1)
    producer = await broker.producer(f"{topic}-task")

    ends = await producer.commit(
        Transaction(group=topic, outputs={a: outgoing(1, 2), b: outgoing(3)}, offsets={source: Committed(7, "mark=5")})
    )

    assert ends == {a: 2, b: 1}
    assert values(await read_all(broker, a)) == [b"1", b"2"]
    assert values(await read_all(broker, b)) == [b"3"]
    assert await broker.committed(topic, [source, a]) == {source: Committed(7, "mark=5")}


async def test_a_commit_with_one_impossible_part_applies_nothing(broker: Broker, broker_topic: Topics):
    topic = await broker_topic()
    tp, missing = TopicPartition(topic, 0), TopicPartition(topic, 9)
    producer = await broker.producer(f"{topic}-task")
    too_large = Outgoing([b"k"], [b"x" * (broker.max_record_bytes + 1)], [0])

    with pytest.raises(BrokerError):
        await producer.commit(
            Transaction(group=topic, outputs={tp: outgoing(1), missing: outgoing(2)}, offsets={tp: Committed(1)})
        )
    with pytest.raises(RecordTooLarge):
        await producer.commit(Transaction(group=topic, outputs={tp: too_large}, offsets={tp: Committed(1)}))

    assert await broker.end_offsets([tp]) == {tp: 0}
    assert await broker.committed(topic, [tp]) == {}


async def test_a_failing_commit_leaves_those_beside_it_alone(broker: Broker, broker_topic: Topics):
    tp = TopicPartition(await broker_topic(), 0)
    old = await broker.producer(f"{tp}-zombie")
    await broker.producer(f"{tp}-zombie")
    good = [await broker.producer(f"{tp}-{n}") for n in range(5)]
    transactions = [Transaction(group="g", outputs={tp: outgoing(n)}) for n in range(6)]

    outcomes = await asyncio.gather(
        *(producer.commit(t) for producer, t in zip([*good[:2], old, *good[2:]], transactions, strict=True)),
        return_exceptions=True,
    )

    assert [isinstance(outcome, Fenced) for outcome in outcomes] == [False, False, True, False, False, False]
    assert sorted(values(await read_all(broker, tp))) == [b"0", b"1", b"3", b"4", b"5"]


async def test_a_newer_producer_fences_the_older_from_that_moment(broker_handles: Handles):
    mine, theirs = await broker_handles.open(), await broker_handles.open()
    tp = TopicPartition(await Topics(mine)(), 0)
    older = await mine.producer(f"{tp}-task")
    await older.commit(Transaction(group="g", outputs={tp: outgoing(1)}))

    newer = await theirs.producer(f"{tp}-task")
    with pytest.raises(Fenced, match=f"{tp}-task"):
        await older.commit(Transaction(group="g", outputs={tp: outgoing(2)}, offsets={tp: Committed(2)}))
    await newer.commit(Transaction(group="g", outputs={tp: outgoing(3)}))

    assert values(await read_all(mine, tp)) == [b"1", b"3"]
    assert await theirs.committed("g", [tp]) == {}


async def test_positions_are_per_group_and_can_be_replaced_and_forgotten(broker: Broker, broker_topic: Topics):
    topic = await broker_topic(partitions=2)
    a, b = TopicPartition(topic, 0), TopicPartition(topic, 1)
    one, two = f"{topic}-one", f"{topic}-two"
    producer = await broker.producer(f"{topic}-task")
    await producer.commit(Transaction(group=one, offsets={a: Committed(5, "x"), b: Committed(6)}))
    await producer.commit(Transaction(group=one, offsets={a: Committed(3, "ü")}))
    await producer.commit(Transaction(group=two, offsets={a: Committed(9)}))

    assert await broker.committed(one, [a, b]) == {a: Committed(3, "ü"), b: Committed(6)}
    assert await broker.committed(two, [a, b]) == {a: Committed(9)}
    await broker.delete_offsets(one)

    assert await broker.committed(one, [a, b]) == {}
    assert await broker.committed(two, [a]) == {a: Committed(9)}


async def test_commits_of_one_producer_keep_their_order(broker: Broker, broker_topic: Topics):
    tp = TopicPartition(await broker_topic(), 0)
    producer = await broker.producer(f"{tp}-task")

    for n in range(30):
        await producer.commit(
            Transaction(group="g", outputs={tp: outgoing(2 * n, 2 * n + 1)}, offsets={tp: Committed(n)})
        )

    assert values(await read_all(broker, tp)) == [b"%d" % n for n in range(60)]
    assert await broker.committed("g", [tp]) == {tp: Committed(29)}


async def test_what_is_appended_to_a_batch_after_its_commit_began_is_not_in_it(broker: Broker, broker_topic: Topics):
    tp = TopicPartition(await broker_topic(), 0)
    out = outgoing(1)
    pending = asyncio.ensure_future(broker.produce({tp: out}))
    await asyncio.sleep(0)
    out.append(b"k", b"2", 0)
    await pending

    assert values(await read_all(broker, tp)) == [b"1"]


async def test_all_is_still_there_when_the_broker_is_opened_again(broker_handles: Handles):
    first = await broker_handles.open()
    tp = TopicPartition(await Topics(first)(), 0)
    producer = await first.producer(f"{tp}-task")
    await producer.commit(Transaction(group=tp.topic, outputs={tp: outgoing(1)}, offsets={tp: Committed(4, "m")}))
    await first.close()
    await first.close()

    second = await broker_handles.open()

    assert values(await read_all(second, tp)) == [b"1"]
    assert await second.committed(tp.topic, [tp]) == {tp: Committed(4, "m")}
