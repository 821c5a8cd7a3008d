"""The tasks of a member write together; who has lost its place writes nothing, and holds nobody up for long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flows.brokers.base import Committed, Outgoing, TopicPartition, TopicSpec, Transaction
from flows.brokers.kafka.faults import Lost
from flows.brokers.kafka.member_producers import AT_ONCE
from flows.brokers.kafka.protocol import AlterTopicRequest
from flows.errors import BrokerError, Fenced, OutcomeUnknown, RecordTooLarge
from tests.contracts.broker_fixtures import outgoing
from tests.kafka.cluster import unique
from tests.kafka.writing_members import Gate, Group, Member, group

__all__ = ["group"]


async def test_what_tasks_commit_while_others_do_is_one_transaction(group: Group) -> None:
    member = await group.member("one")
    producers = [await member.producer(task) for task in range(4)]
    gate = Gate(member.losses, "AddPartitionsToTxn", requests=AT_ONCE)
    first = [asyncio.create_task(member.commit(producers[task], task, 1)) for task in (0, 1)]
    await gate.reached.wait()

    others = [asyncio.create_task(member.commit(producers[task], task, 1)) for task in (2, 3)]
    await asyncio.gather(*(member.broker._limits.check({member.tp("out", task): Outgoing()}) for task in (2, 3)))
    gate.opened.set()
    await asyncio.gather(*first, *others)

    assert member.losses.seen.count("EndTxn") == AT_ONCE + 1
    assert [await member.written(task) for task in range(4)] == [[b"1"]] * 4
    assert [await member.position(task) for task in range(4)] == [Committed(1, "mark 1")] * 4
    assert [done.result() for done in (*first, *others)] == [{member.tp("out", task): 1} for task in range(4)]


async def test_one_transaction_ends_before_another_that_began_earlier(group: Group) -> None:
    member = await group.member("one")
    producers = [await member.producer(task) for task in range(2)]
    gate = Gate(member.losses, "EndTxn")
    slow = asyncio.create_task(member.commit(producers[0], 0, 1))
    await gate.reached.wait()
    del member.losses.before["EndTxn"]

    for number in (1, 2, 3):
        await member.commit(producers[1], 1, number)
    assert await member.position(1) == Committed(3, "mark 3")
    gate.opened.set()
    await slow

    assert await member.position(0) == Committed(1, "mark 1")
    assert [await member.written(task) for task in range(2)] == [[b"1"], [b"1", b"2", b"3"]]


async def test_what_is_in_doubt_is_ended_before_its_task_goes_on_and_disturbs_no_other(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.brokers.kafka.producer._END_SECONDS", 0.3)
    member = await group.member("one")
    producers = [await member.producer(task) for task in range(2)]
    await member.commit(producers[0], 0, 1)
    doubtful: set[str] = set()

    async def lose(request: Any) -> None:
        if not doubtful:
            doubtful.add(request._transactional_id)
        if request._transactional_id in doubtful:
            raise Lost("the connection broke before the request was sent")

    member.losses.before["EndTxn"] = lose
    with pytest.raises(OutcomeUnknown):
        await member.commit(producers[0], 0, 2)
    await member.commit(producers[1], 1, 1)  # by the other id
    assert len(doubtful) == 1
    del member.losses.before["EndTxn"]

    again = await member.producer(0)
    assert await member.position(0) == Committed(1, "mark 1")
    await member.commit(again, 0, 3)
    assert [await member.written(task) for task in range(2)] == [[b"1", b"3"], [b"1"]]


async def test_what_one_task_cannot_write_holds_nobody_back(group: Group) -> None:
    member = await group.member("one")
    producers = [await member.producer(task) for task in range(3)]
    await asyncio.gather(*(member.commit(producer, task, 1) for task, producer in enumerate(producers)))
    # Checked against a limit that has changed since: the broker is the one to refuse.
    large = Outgoing([b"k"], [b"x" * 5_000], [0])
    await _limit(member, f"{group.name}-large", 1_000)

    outcomes = await asyncio.gather(
        member.commit(producers[0], 0, 2),
        producers[1].commit(
            Transaction(
                group=group.name,
                outputs={TopicPartition(f"{group.name}-large", 0): large},
                offsets={member.tp("in", 1): Committed(2)},
            )
        ),
        member.commit(producers[2], 2, 2),
        return_exceptions=True,
    )

    assert isinstance(outcomes[1], RecordTooLarge)
    assert [await member.written(task) for task in range(3)] == [[b"1", b"2"], [b"1"], [b"1", b"2"]]
    assert [at and at.offset for at in [await member.position(task) for task in range(3)]] == [2, 1, 2]


async def _limit(member: Member, topic: str, most: int) -> None:
    """Make a topic that takes batches of so many bytes, of which this process knows only what was before."""
    tp = TopicPartition(topic, 0)
    await member.broker.create_topic(TopicSpec(name=topic, retention=None))
    await member.broker._limits.check({tp: outgoing(1)})
    answer = await member.broker._cluster.ask(AlterTopicRequest(topic, {"max.message.bytes": str(most)}))
    assert answer.responses[0][0] == 0


async def test_a_round_of_the_group_in_the_middle_of_a_commit_costs_nothing(group: Group) -> None:
    member = await group.member("one")
    await member.worker.has(4)
    producer = await member.producer(0)
    await member.commit(producer, 0, 1)
    gate, before = Gate(member.losses, "TxnOffsetCommit"), member.worker.membership.generation

    committing = asyncio.create_task(member.commit(producer, 0, 2))  # with the generation of now
    await gate.reached.wait()
    other = await group.member("two")
    await member.worker.until(lambda worker: worker.membership.generation > before)
    gate.opened.set()
    await committing

    assert member.losses.seen.count("TxnOffsetCommit") > 2  # refused at first
    assert await other.written(0) == [b"1", b"2"]
    assert await other.position(0) == Committed(2, "mark 2")


async def test_who_has_lost_its_place_commits_nothing_more(group: Group) -> None:
    member = await group.member("one")
    producer = await member.producer(0)
    await member.commit(producer, 0, 1)
    gate = Gate(member.losses, "AddOffsetsToTxn")
    committing = asyncio.create_task(member.commit(producer, 0, 2))
    await gate.reached.wait()
    await member.lose_place()
    other = await group.member("two")
    gate.opened.set()

    with pytest.raises(Fenced):
        await committing
    await member.worker.until(lambda worker: worker.error)
    with pytest.raises(Fenced):
        await member.commit(producer, 0, 3)

    assert await other.written(0) == [b"1"]
    assert await other.position(0) == Committed(1, "mark 1")


async def test_what_a_dead_member_left_open_is_ended_by_who_takes_its_tasks(group: Group) -> None:
    member = await group.member("one")
    producers = [await member.producer(task) for task in range(AT_ONCE)]
    for task, producer in enumerate(producers):
        await member.commit(producer, task, 1)
    gate = Gate(member.losses, "EndTxn", requests=AT_ONCE)
    committing = [asyncio.create_task(member.commit(producer, task, 2)) for task, producer in enumerate(producers)]
    await gate.reached.wait()  # records and positions are there, and the transactions are open
    await member.lose_place()
    other = await group.member("two")

    inputs = [other.tp("in", task) for task in range(AT_ONCE)]
    assert await other.broker.committed(group.name, inputs, stable=False) == dict.fromkeys(
        inputs, Committed(1, "mark 1")
    )
    for task in range(AT_ONCE):
        again = await other.producer(task)
        assert await other.position(task) == Committed(1, "mark 1")
        await other.commit(again, task, 7)
    gate.opened.set()
    await asyncio.wait(committing)

    assert [type(done.exception()) for done in committing] == [Fenced] * AT_ONCE
    assert [await other.written(task) for task in range(AT_ONCE)] == [[b"1", b"7"]] * AT_ONCE
    assert [await other.position(task) for task in range(AT_ONCE)] == [Committed(7, "mark 7")] * AT_ONCE


async def test_who_took_a_task_and_died_before_its_first_commit_is_known_too(group: Group) -> None:
    first = await group.member("one")
    await first.commit(await first.producer(0), 0, 1)
    await first.worker.leave()
    second = await group.member("two")
    producer = await second.producer(0)
    gate = Gate(second.losses, "EndTxn")
    committing = asyncio.create_task(second.commit(producer, 0, 2))
    await gate.reached.wait()
    await second.lose_place()
    third = await group.member("three")

    await third.producer(0)  # would wait for the transaction's timeout

    gate.opened.set()
    with pytest.raises(Fenced):
        await committing
    assert await third.written(0) == [b"1"]
    assert await third.position(0) == Committed(1, "mark 1")


async def test_the_end_of_what_is_written_counts_open_transactions(group: Group) -> None:
    member = await group.member("one")
    producer, other, tp = await member.producer(0), await member.broker.producer(unique("other")), member.tp("out", 0)
    gate = Gate(member.losses, "EndTxn")
    hanging = asyncio.create_task(other.commit(Transaction(group="none", outputs={tp: outgoing(1)})))
    await gate.reached.wait()
    del member.losses.before["EndTxn"]
    await member.commit(producer, 0, 2)  # committed, and hidden behind what hangs

    written, committed = await member.broker.end_offsets([tp], written=True), await member.broker.end_offsets([tp])
    assert written[tp] > committed[tp]
    gate.opened.set()
    await hanging
    assert await member.written(0) == [b"1", b"2"]


async def test_a_task_that_is_closed_has_nothing_under_way(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.brokers.kafka.member_producers.AT_ONCE", 1)
    member = await group.member("one")
    begun, waiting = await member.producer(0), await member.producer(1)
    await asyncio.gather(member.commit(begun, 0, 1), member.commit(waiting, 1, 1))
    assert await member.position(0) == Committed(1, "mark 1")  # its markers are written
    gate = Gate(member.losses, "AddPartitionsToTxn")
    commits = [asyncio.create_task(member.commit(begun, 0, 2))]
    await gate.reached.wait()
    commits.append(asyncio.create_task(member.commit(waiting, 1, 2)))
    await member.broker._limits.check({member.tp("out", 1): Outgoing()})
    for commit in commits:
        commit.cancel()
    await asyncio.wait(commits)

    await waiting.close()  # taken back at once
    closing = asyncio.create_task(begun.close())
    assert await member.broker.committed(group.name, [member.tp("in", 0)], stable=False) == {
        member.tp("in", 0): Committed(1, "mark 1")
    }
    assert not closing.done()
    gate.opened.set()
    await closing

    assert await member.position(0) == Committed(2, "mark 2")
    assert await member.position(1) == Committed(1, "mark 1")
    with pytest.raises(BrokerError, match="is closed"):
        await member.commit(begun, 0, 3)


async def test_a_lost_answer_is_told_to_all_that_were_in_the_commit_and_to_nobody_else(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.brokers.kafka.producer._END_SECONDS", 0.3)
    monkeypatch.setattr("flows.brokers.kafka.member_producers.AT_ONCE", 1)
    member = await group.member("one")
    producers = [await member.producer(task) for task in range(4)]
    begun = Gate(member.losses, "AddPartitionsToTxn")
    earlier = asyncio.create_task(member.commit(producers[3], 3, 1))
    await begun.reached.wait()
    together = [asyncio.create_task(member.commit(producers[task], task, 1)) for task in (0, 1)]
    await member.broker._limits.check({member.tp("out", 1): Outgoing()})
    begun.opened.set()
    await earlier
    gate = Gate(member.losses, "EndTxn")  # theirs: it is several requests after the one that was just answered
    await gate.reached.wait()
    later = asyncio.create_task(member.commit(producers[2], 2, 1))
    member.losses.answers["EndTxn"] = 1_000
    gate.opened.set()
    await asyncio.wait(together)
    member.losses.answers.clear()
    await later

    assert all(isinstance(done.exception(), OutcomeUnknown) for done in together)
    again = [await member.producer(task) for task in (0, 1)]
    # It was applied: the answers were lost, not the requests.
    assert [await member.position(task) for task in range(3)] == [Committed(1, "mark 1")] * 3
    await asyncio.gather(*(member.commit(producer, task, 2) for task, producer in enumerate(again)))
    assert [await member.written(task) for task in range(3)] == [[b"1", b"2"], [b"1", b"2"], [b"1"]]


async def test_positions_alone_are_fenced_by_the_group_too(group: Group) -> None:
    member = await group.member("one")
    appender, tp = await member.broker.appender(f"{group.name}.part/0", group=group.name), member.tp("in", 0)
    await appender.commit(member.transaction(0, 1))
    assert await member.position(0) == Committed(1, "mark 1")
    assert "EndTxn" not in member.losses.seen
    await member.lose_place()
    other = await group.member("two")

    with pytest.raises(Fenced):
        await appender.commit(Transaction(group=group.name, offsets={tp: Committed(2)}))

    assert await other.position(0) == Committed(1, "mark 1")
