"""Transactions at a real broker when answers are lost, time is up, limits change, or the task is cancelled."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flows.brokers.base import Broker, Committed, Outgoing, TopicPartition, Transaction
from flows.brokers.kafka import producer as producers
from flows.brokers.kafka.protocol import AlterTopicRequest
from flows.errors import BrokerUnavailable, Fenced, OutcomeUnknown, RecordTooLarge
from tests.contracts.broker_fixtures import Topics, outgoing, read_all, values
from tests.kafka.cluster import Cluster
from tests.kafka.lossy import Losses

STEPS = ["AddPartitionsToTxn", "AddOffsetsToTxn", "Produce", "TxnOffsetCommit", "EndTxn"]


@pytest.fixture
async def tp(broker_topic: Topics) -> TopicPartition:
    return TopicPartition(await broker_topic(), 0)


@pytest.fixture
def losses(broker: Broker) -> Losses:
    return Losses(broker._cluster)  # type: ignore[attr-defined]


def _transaction(tp: TopicPartition, number: int) -> Transaction:
    return Transaction(
        group=tp.topic, outputs={tp: outgoing(number)}, offsets={tp: Committed(number, f"mark {number}")}
    )


async def test_positions_show_in_kafkas_own_tool(kafka: Cluster, broker: Broker, tp: TopicPartition) -> None:
    await broker.produce({tp: outgoing(*range(10))})
    producer = await broker.producer(f"{tp}-task")
    await producer.commit(Transaction(group=tp.topic, offsets={tp: Committed(7)}))

    told = kafka.tool("consumer.group.ConsumerGroupCommand", "--describe", "--group", tp.topic)

    (line,) = [line for line in told.splitlines() if f"{tp.topic} {tp.topic} 0" in " ".join(line.split())]
    assert line.split()[3:6] == ["7", "10", "3"]  # position, end, lag


@pytest.mark.parametrize("step", STEPS)
async def test_a_lost_answer_neither_doubles_nor_loses(
    broker: Broker, tp: TopicPartition, losses: Losses, step: str
) -> None:
    producer = await broker.producer(f"{tp}-task")
    await producer.commit(_transaction(tp, 1))

    losses.answers = {step: 2}
    ends = await producer.commit(_transaction(tp, 2))
    losses.requests = {step: 2}
    await producer.commit(_transaction(tp, 3))

    assert losses.answers == losses.requests == {step: 0}
    found = await read_all(broker, tp)
    assert values(found) == [b"1", b"2", b"3"]
    assert ends == {tp: found[0].offsets[1] + 1 if len(found) == 1 else found[1].offsets[0] + 1}
    assert await broker.committed(tp.topic, [tp]) == {tp: Committed(3, "mark 3")}


@pytest.mark.parametrize("step", STEPS[:4])
async def test_what_cannot_be_written_is_not_applied_and_may_be_tried_again(
    broker: Broker, tp: TopicPartition, losses: Losses, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    producer = await broker.producer(f"{tp}-task")
    monkeypatch.setattr(producers, "_WRITE_SECONDS", 0.3)

    losses.answers = {step: 1_000}
    with pytest.raises(BrokerUnavailable, match=f"cannot commit transaction of '{tp}-task': .*{step} was lost"):
        await producer.commit(_transaction(tp, 1))
    losses.answers = {}
    monkeypatch.undo()
    await producer.commit(_transaction(tp, 2))

    assert values(await read_all(broker, tp)) == [b"2"]
    assert await broker.committed(tp.topic, [tp]) == {tp: Committed(2, "mark 2")}


async def test_an_end_that_was_never_sent_leaves_no_doubt(
    broker: Broker, tp: TopicPartition, losses: Losses, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = await broker.producer(f"{tp}-task")
    monkeypatch.setattr(producers, "_END_SECONDS", 0.3)

    losses.requests = {"EndTxn": 1_000}
    with pytest.raises(BrokerUnavailable, match="EndTxn was not sent"):
        await producer.commit(_transaction(tp, 1))
    losses.requests = {}
    await producer.commit(_transaction(tp, 1))

    assert values(await read_all(broker, tp)) == [b"1"]


async def test_an_end_without_an_answer_is_of_unknown_outcome(
    broker: Broker, tp: TopicPartition, losses: Losses, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = await broker.producer(f"{tp}-task")
    monkeypatch.setattr(producers, "_END_SECONDS", 0.3)

    losses.answers = {"EndTxn": 1_000}
    with pytest.raises(OutcomeUnknown, match="the answer was lost"):
        await producer.commit(_transaction(tp, 1))
    losses.answers = {}
    with pytest.raises(OutcomeUnknown, match="may or may not have been applied; take the id over"):
        await producer.commit(_transaction(tp, 2))

    newer = await broker.producer(f"{tp}-task")
    assert await broker.committed(tp.topic, [tp]) == {tp: Committed(1, "mark 1")}
    await newer.commit(_transaction(tp, 2))
    assert values(await read_all(broker, tp)) == [b"1", b"2"]


async def test_a_transaction_that_takes_too_long_is_fenced_and_not_applied(
    broker: Broker, tp: TopicPartition, losses: Losses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producers, "TRANSACTION_SECONDS", 1.0)
    producer = await broker.producer(f"{tp}-task")

    reader = broker.reader({tp: 0})

    async def until_it_was_aborted(request: Any) -> None:
        async with asyncio.timeout(60):
            while reader.position(tp) < 2:  # the record and the marker
                await reader.fetch(10, 1.0)

    losses.before = {"EndTxn": until_it_was_aborted}
    with pytest.raises(Fenced, match=f"cannot commit transaction of '{tp}-task'"):
        await producer.commit(_transaction(tp, 1))
    losses.before = {}

    assert values(await read_all(broker, tp)) == []
    assert await broker.committed(tp.topic, [tp]) == {}
    await (await broker.producer(f"{tp}-task")).commit(_transaction(tp, 2))
    assert values(await read_all(broker, tp)) == [b"2"]


async def test_a_takeover_in_the_middle_of_a_commit_wins(broker: Broker, tp: TopicPartition, losses: Losses) -> None:
    older = await broker.producer(f"{tp}-task")
    newer: list[Any] = []

    async def take_over(request: Any) -> None:
        losses.before = {}
        newer.append(await broker.producer(f"{tp}-task"))

    losses.before = {"EndTxn": take_over}
    with pytest.raises(Fenced):
        await older.commit(_transaction(tp, 1))
    await newer[0].commit(_transaction(tp, 2))

    assert values(await read_all(broker, tp)) == [b"2"]
    assert await broker.committed(tp.topic, [tp]) == {tp: Committed(2, "mark 2")}


async def _limit(broker: Broker, tp: TopicPartition, size: int) -> None:
    topics = broker._topics  # type: ignore[attr-defined]
    await topics._to_controller(AlterTopicRequest(tp.topic, {"max.message.bytes": str(size)}))


async def test_a_topics_own_limit_is_known_before_the_transaction(
    broker: Broker, tp: TopicPartition, losses: Losses
) -> None:
    await _limit(broker, tp, 10_000)
    producer = await broker.producer(f"{tp}-task")

    with pytest.raises(RecordTooLarge, match=f"{tp}: a record of 9001 bytes, more than 8976"):
        await producer.commit(Transaction(group="g", outputs={tp: Outgoing([b"k"], [b"x" * 9000], [0])}))

    assert "AddPartitionsToTxn" not in losses.seen
    many = Outgoing([b"k"] * 100, [b"x" * 5000] * 100, [0] * 100)
    await producer.commit(Transaction(group="g", outputs={tp: many}))
    assert values(await read_all(broker, tp)) == [b"x" * 5000] * 100


async def test_a_limit_that_was_lowered_meanwhile_applies_nothing(broker: Broker, tp: TopicPartition) -> None:
    producer = await broker.producer(f"{tp}-task")
    await producer.commit(_transaction(tp, 1))
    await _limit(broker, tp, 1_000)
    large = Outgoing([b"k"], [b"x" * 5_000], [0])

    async with asyncio.timeout(20):
        while True:  # the broker learns of it a moment later
            try:
                await producer.commit(Transaction(group=tp.topic, outputs={tp: large}, offsets={tp: Committed(9)}))
            except RecordTooLarge:
                break
            large = Outgoing([b"k"], [b"x" * 5_000], [0])
    before = values(await read_all(broker, tp))
    await producer.commit(_transaction(tp, 2))

    assert values(await read_all(broker, tp)) == [*before, b"2"]


@pytest.mark.parametrize("step", STEPS)
async def test_a_cancelled_commit_is_whole_or_not_there(
    broker: Broker, tp: TopicPartition, losses: Losses, step: str
) -> None:
    producer = await broker.producer(f"{tp}-task")
    reached, never = asyncio.Event(), asyncio.Event()

    async def stay(request: Any) -> None:
        reached.set()
        await never.wait()

    losses.before = {step: stay}
    commit = asyncio.ensure_future(producer.commit(_transaction(tp, 1)))
    await reached.wait()
    commit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await commit
    losses.before = {}
    await producer.close()

    newer = await broker.producer(f"{tp}-task")
    await newer.commit(_transaction(tp, 2))
    assert values(await read_all(broker, tp)) == [b"2"]


async def test_what_an_appender_sends_twice_is_stored_once(broker: Broker, tp: TopicPartition, losses: Losses) -> None:
    appender = await broker.appender(f"{tp}-task")
    await appender.send({tp: outgoing(1)})

    losses.answers = {"Produce": 2}
    assert await appender.send({tp: outgoing(2, 3)}) == {tp: 3}

    assert values(await read_all(broker, tp)) == [b"1", b"2", b"3"]


@pytest.mark.parametrize("partitions", [1, 2])
async def test_what_cannot_be_encoded_fails_its_call_and_no_other(
    broker: Broker, broker_topic: Topics, partitions: int
) -> None:
    topic = await broker_topic(partitions=partitions)
    tps = [TopicPartition(topic, n) for n in range(partitions)]
    wrong = {tp: Outgoing([b"k"], [b"v"], ["soon"]) for tp in tps}  # type: ignore[list-item]

    with pytest.raises(TypeError):
        await asyncio.wait_for(broker.produce(wrong), 20)
    await broker.produce({tp: outgoing(1) for tp in tps})

    assert [values(await read_all(broker, tp)) for tp in tps] == [[b"1"]] * partitions


async def test_many_calls_at_a_time_share_requests_and_each_learns_its_own_end(
    broker: Broker, broker_topic: Topics, losses: Losses
) -> None:
    topic = await broker_topic(partitions=2)
    a, b = TopicPartition(topic, 0), TopicPartition(topic, 1)
    calls = [{a: outgoing(n, n)} if n % 2 else {a: outgoing(n), b: outgoing(n, n, n)} for n in range(200)]

    ends = await asyncio.gather(*(broker.produce(call) for call in calls))

    assert losses.seen.count("DescribeConfigs") == 1
    assert losses.seen.count("Produce") < 50
    stored = {
        (tp, offset): value
        for tp in (a, b)
        for records in await read_all(broker, tp)
        for offset, value in zip(records.offsets, records.values, strict=True)
    }
    assert len(stored) == 100 * 2 + 100 + 300
    for number, (call, end) in enumerate(zip(calls, ends, strict=True)):
        for tp, out in call.items():
            assert [stored[tp, end[tp] - 1 - n] for n in range(len(out))] == [b"%d" % number] * len(out)
