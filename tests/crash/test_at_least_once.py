"""At least once: outputs leave before the commit, no event is lost however often the worker dies, some come twice."""

from __future__ import annotations

from collections import Counter
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.brokers.base import Appender, Outgoing, TopicPartition, Transaction
from flows.brokers.memory import MemoryBroker
from flows.errors import BrokerUnavailable, OutcomeUnknown
from flows.testing import Driver
from tests.crash.airport import Airport, Flight, check, every, history, send
from tests.crash.deaths import STEPS, Crash, Deaths, survive
from tests.drawn import drawn


class Torn(MemoryBroker):
    """A broker without transactions: what an appender writes may be there in part. Faults come in turn, then none."""

    def __init__(self, *faults: str) -> None:
        super().__init__()
        self.faults = list(faults)

    async def appender(self, transactional_id: str, **of: Any) -> Appender:
        return TornAppender(self, await super().appender(transactional_id, **of))


class TornAppender:
    def __init__(self, broker: Torn, appender: Appender) -> None:
        self._broker, self._appender = broker, appender

    async def send(self, outputs: dict[TopicPartition, Outgoing]) -> dict[TopicPartition, int]:
        fault = self._broker.faults.pop(0) if self._broker.faults else "none"
        if fault == "unavailable":
            raise BrokerUnavailable("the disk is full")
        ends = await self._appender.send(outputs)
        if fault == "unknown":
            raise OutcomeUnknown("the answer never came")
        if fault == "dies":
            raise Crash("in the middle of a commit")
        return ends

    async def commit(self, transaction: Transaction) -> dict[TopicPartition, int]:
        ends = await self.send(transaction.outputs)
        await self._appender.commit(Transaction(group=transaction.group, offsets=transaction.offsets))
        return ends

    async def close(self) -> None:
        await self._appender.close()


def check_nothing_lost(t: Driver, airport: Airport, flights: list[Flight], *, exact: bool) -> None:
    """Compare with what must at least be there; `exact` where the tables are as if nothing came twice."""
    seen: dict[str, int] = Counter(f.origin for f in flights)
    for table, key in ((airport.by_origin, "origin"), (airport.by_carrier, "carrier")):
        late = {r.value["delay"] for r in t.late(table)}
        found = sum(row["flights"] for row in t.table(table).rows()) + len(late)
        assert found >= len(flights), key
    lucky = [f for f in flights if f.delay != 13]
    streaks = {r["key"]: r["value"] for r in t.table(airport.streaks).rows()}
    assert {(o, d) for o, delays in streaks.items() for d in delays} == {(f.origin, f.delay) for f in lucky}
    alerts = Counter(r.value["origin"] for r in every(t, airport.alerts))
    assert all(alerts[f.origin] >= sum(g.origin == f.origin for g in lucky) for f in flights)
    assert {d.step for d in t.dead_letters()} == {"watch"}
    paired = {(r.value["origin"], d) for r in every(t, airport.pairs) for d in r.value["pair"]}
    for origin in seen:
        delays = [f.delay for f in flights if f.origin == origin]
        assert {(origin, d) for d in delays[: len(delays) // 2 * 2]} <= paired | {(origin, delays[-1])}
    closed = {(r["origin"], r["window_start"]) for r in t.table(airport.waiting).rows()}
    assert {(r.value["origin"], r.value["window_start"]) for r in every(t, airport.closed)} == closed
    if exact:
        assert streaks == {o: [f.delay for f in lucky if f.origin == o] for o in streaks}


def run(t: Driver, airport: Airport, probe: Deaths, sizes: list[int], *, exact: bool) -> None:
    probe.armed = True
    flights, size = history(), cycle(sizes)
    left = list(flights)
    while left:
        count = next(size)
        survive(t, send, t, airport, left[:count])
        left = left[count:]
        if len(left) % 8 < count:
            survive(t, t.rebalance if len(left) % 2 else t.crash)
    probe.armed = False
    survive(t, t.crash)
    check_nothing_lost(t, airport, flights, exact=exact)


def test_without_a_crash_nothing_comes_twice() -> None:
    airport = Airport()
    with Driver(airport.app, guarantee="at_least_once") as t:
        flights = history()
        send(t, airport, flights[:10])
        t.rebalance()
        send(t, airport, flights[10:])
        check(t, airport, flights)


def test_outputs_are_there_before_the_commit() -> None:
    airport = Airport()
    for guarantee, there in (("exactly_once", 0), ("at_least_once", 5)):
        with Driver(airport.app, guarantee=guarantee) as t:  # type: ignore[arg-type]
            send(t, airport, history()[:5])
            before = len(every(t, airport.alerts))
            for task in t._tasks:
                task.hold_commits = True
            send(t, airport, history()[:5])
            assert len(every(t, airport.alerts)) - before == there


def test_a_commit_waits_for_its_time_and_outputs_do_not() -> None:
    airport = Airport()
    with Driver(airport.app, guarantee="at_least_once") as t:
        t._env.commit_interval = 10.0
        send(t, airport, history()[:5])
        assert len(every(t, airport.alerts)) == 5
        assert not t.table(airport.streaks).rows()
        t.advance(10)
        assert t.table(airport.streaks).rows()


@pytest.mark.parametrize("call", [1, 3])
@pytest.mark.parametrize("step", STEPS)
def test_death_at_a_step(step: str, call: int) -> None:
    airport, probe = Airport(), Deaths((step, call))
    with Driver(airport.app, probe=probe, guarantee="at_least_once") as t:
        run(t, airport, probe, [5, 1], exact=True)
    assert probe.happened == 1


DEATHS = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(1, 12)), max_size=5)
FAULTS = st.lists(st.sampled_from(["none", "none", "unavailable", "unknown", "dies"]), max_size=12)


@drawn(12)
@given(DEATHS, FAULTS, st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_death_again_and_again_on_a_broker_without_transactions(
    deaths: list[tuple[str, int]], faults: list[str], sizes: list[int]
) -> None:
    airport, probe = Airport(), Deaths(*deaths)
    with Driver(airport.app, probe=probe, broker=Torn(*faults), guarantee="at_least_once") as t:
        run(t, airport, probe, sizes, exact=False)


def test_no_position_is_committed_before_the_outputs_are_durable() -> None:
    airport, broker = Airport(), Torn()
    flights = history()
    with Driver(airport.app, broker=broker, guarantee="at_least_once") as t:
        send(t, airport, flights[:9])
        before = t.table(airport.by_origin).rows()
        broker.faults = ["unavailable"] * 6
        send(t, airport, flights[9:])
        assert t.table(airport.by_origin).rows() == before
        t.crash()
        t.advance("3s")
        assert any("the disk is full" in error for error in t.metrics.errors)
        check_nothing_lost(t, airport, flights, exact=True)
