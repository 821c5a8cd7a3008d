"""Offsets without a record, such as Kafka's transactions leave: an input that is read to its end is committed to it."""

from __future__ import annotations

from typing import Any

import flows
from flows.brokers.base import Committed, Outgoing, TopicPartition, Transaction
from flows.brokers.memory import MemoryBroker
from flows.run.drained import is_drained
from flows.testing import Driver
from tests.crash.airport import Airport, check, history, send


class Counting(MemoryBroker):
    """Leaves markers, and counts the commits of tasks."""

    def __init__(self) -> None:
        super().__init__(markers=True)
        self.commits = 0

    async def producer(self, transactional_id: str, **of: Any) -> Any:
        broker, real = self, await super().producer(transactional_id, **of)

        class Counted:
            async def commit(self, transaction: Transaction) -> dict[TopicPartition, int]:
                broker.commits += 1
                return await real.commit(transaction)

            async def close(self) -> None:
                await real.close()

        return Counted()


def chain() -> flows.App:
    app = flows.App("chain")
    events = app.topic("events", value=dict, partitions=1)

    @app.agent(events)
    async def nothing(stream):
        async for _ in stream:
            pass

    return app


def drained(t: Driver) -> bool:
    return bool(t._run(is_drained(t._env), "look"))


def test_an_input_that_ends_in_a_marker_is_committed_to_its_end() -> None:
    app = chain()
    broker = Counting()
    with Driver(app, broker=broker) as t:
        tp = TopicPartition("events", 0)
        other = t._run(broker.producer("other"), "open")
        out = Outgoing([None], [b'{"n": 1}'], [0])
        t._run(other.commit(Transaction(group="other", outputs={tp: out})), "write")
        assert t._run(broker.end_offsets([tp]), "look") == {tp: 2}
        t.advance("2s")
        assert t._run(broker.committed("chain", [tp]), "look")[tp].offset == 2
        assert drained(t)
        commits = broker.commits
        t.advance("60s")
        assert broker.commits == commits


def test_an_input_of_markers_only_is_committed_too() -> None:
    app = chain()
    broker = Counting()
    with Driver(app, broker=broker) as t:
        tp = TopicPartition("events", 0)
        broker._log(tp).mark()
        assert not drained(t)
        t.advance("2s")
        assert t._run(broker.committed("chain", [tp]), "look") == {tp: Committed(1)}
        assert drained(t)


def test_records_and_markers_in_turn_cost_no_commit_more() -> None:
    """The marker behind a batch goes with the next commit, as long as there is one."""
    app = chain()
    broker = Counting()
    with Driver(app, broker=broker) as t:
        tp = TopicPartition("events", 0)
        other = t._run(MemoryBroker.producer(broker, "other"), "open")
        before = broker.commits
        for n in range(20):
            out = Outgoing([None], [b'{"n": %d}' % n], [0])
            t._run(other.commit(Transaction(group="other", outputs={tp: out})), "write")
            t.advance("0.1s")
        assert broker.commits - before == 20
        t.advance("2s")
        assert broker.commits - before <= 21
        assert drained(t)


def test_everything_is_the_same_where_all_transactions_leave_markers() -> None:
    airport, flights = Airport(), history()
    with Driver(airport.app, broker=MemoryBroker(markers=True)) as t:
        for start in range(0, len(flights), 5):
            send(t, airport, flights[start : start + 5])
            t.crash()
        check(t, airport, flights)
        t.rebalance()
        t.advance("1s")
        check(t, airport, flights)
        assert drained(t)
