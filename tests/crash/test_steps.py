"""Death at each numbered step of taking a task over and of committing it, and brokers that leave the outcome open."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows.run.commit
import flows.run.task
import flows.state.restore
from flows.brokers.base import Producer, TopicPartition, Transaction
from flows.brokers.memory import MemoryBroker
from flows.errors import BrokerUnavailable, OutcomeUnknown
from flows.testing import Driver
from tests.crash.airport import Airport, check, history, send
from tests.crash.deaths import COMMITS, RESTORES, STARTS, STEPS, Deaths, InTurn, survive
from tests.drawn import drawn


def run(t: Driver, airport: Airport, probe: Deaths, sizes: Iterator[int]) -> None:
    flights = history()
    probe.armed = True
    left = list(flights)
    while left:
        size = next(sizes)
        survive(t, send, t, airport, left[:size])
        left = left[size:]
        if len(left) % 8 < size:
            # To where its stores are, behind by what was not flushed; or to a worker with an empty disk.
            survive(t, t.rebalance if len(left) % 2 else t.crash)
    probe.armed = False
    check(t, airport, flights)
    t.rebalance()
    check(t, airport, flights)


@pytest.mark.parametrize("call", [1, 2, 4])
@pytest.mark.parametrize("step", STEPS)
def test_death_at_a_step(step: str, call: int) -> None:
    airport, probe = Airport(), Deaths((step, call))
    with Driver(airport.app, probe=probe) as t:
        run(t, airport, probe, cycle([5, 1]))
    assert probe.happened == 1


@pytest.mark.parametrize("again", RESTORES)
@pytest.mark.parametrize("step", RESTORES)
def test_death_in_the_restore_after_a_death_in_the_restore(step: str, again: str) -> None:
    airport, probe = Airport(), InTurn((step, 0), (again, 0), (step, 0))
    with Driver(airport.app, probe=probe) as t:
        run(t, airport, probe, cycle([5, 1]))
    assert probe.happened == 3


DEATHS = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(1, 12)), min_size=1, max_size=6)


@drawn(12)
@given(DEATHS, st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_death_again_and_again(deaths: list[tuple[str, int]], sizes: list[int]) -> None:
    airport, probe = Airport(), Deaths(*deaths)
    with Driver(airport.app, probe=probe) as t:
        run(t, airport, probe, cycle(sizes))


class Unsteady(MemoryBroker):
    """A broker whose commits fail as told: the next ones in turn, then none."""

    def __init__(self, *faults: str) -> None:
        super().__init__()
        self.faults = list(faults)

    async def producer(self, transactional_id: str, **of: Any) -> Producer:
        return UnsteadyProducer(self, await super().producer(transactional_id, **of))


class UnsteadyProducer:
    def __init__(self, broker: Unsteady, producer: Producer) -> None:
        self._broker, self._producer = broker, producer

    async def commit(self, transaction: Transaction) -> dict[TopicPartition, int]:
        fault = self._broker.faults.pop(0) if self._broker.faults else "none"
        if fault == "unavailable":
            raise BrokerUnavailable("the disk is full")
        if fault == "lost":
            raise OutcomeUnknown("the answer never came, and nothing was applied")
        ends = await self._producer.commit(transaction)
        if fault == "applied":
            raise OutcomeUnknown("the answer never came, but all was applied")
        return ends

    async def close(self) -> None:
        await self._producer.close()


@drawn(12)
@given(st.lists(st.sampled_from(["lost", "applied", "none"]), max_size=12), st.lists(st.integers(1, 9), min_size=1))
def test_commits_whose_outcome_is_unknown(faults: list[str], sizes: list[int]) -> None:
    airport, probe, broker = Airport(), Deaths(), Unsteady(*faults)
    with Driver(airport.app, broker=broker) as t:
        run(t, airport, probe, cycle(sizes))


@pytest.mark.parametrize("fault", ["lost", "applied"])
def test_a_commit_whose_outcome_is_unknown_is_told_and_its_task_recovers(fault: str) -> None:
    airport, broker = Airport(), Unsteady()
    flights = history()
    with Driver(airport.app, broker=broker) as t:
        send(t, airport, flights[:9])
        broker.faults = [fault]
        with pytest.raises(OutcomeUnknown, match="the answer never came"):
            send(t, airport, flights[9:])
        t.crash()
        check(t, airport, flights)


def test_a_broker_that_is_away_for_a_while_is_waited_for() -> None:
    airport, broker = Airport(), Unsteady()
    flights = history()
    with Driver(airport.app, broker=broker) as t:
        send(t, airport, flights[:9])
        before = t.table(airport.by_origin).rows()
        broker.faults = ["unavailable"] * 8
        send(t, airport, flights[9:15])
        assert t.table(airport.by_origin).rows() == before
        send(t, airport, flights[15:])
        t.advance("3s")
        assert broker.faults == []
        check(t, airport, flights)
        assert any("the disk is full" in error for error in t.metrics.errors)


def test_a_crash_while_the_broker_is_away_loses_nothing() -> None:
    airport, broker = Airport(), Unsteady()
    flights = history()
    with Driver(airport.app, broker=broker) as t:
        send(t, airport, flights[:9])
        broker.faults = ["unavailable"] * 3
        send(t, airport, flights[9:])
        t.crash()
        t.advance("3s")
        check(t, airport, flights)


def test_every_numbered_step_has_its_probe() -> None:
    """A step that is added to a protocol must be added to the deaths above."""
    for function, steps in (
        (flows.run.task.Task.start, STARTS),
        (flows.state.restore.restore, RESTORES),
        (flows.run.commit.Committer.commit, COMMITS),
    ):
        numbers = re.findall(r"^ +(\d)\. ", function.__doc__ or "", flags=re.MULTILINE)
        assert [f"{steps[0].split()[0]} {n}" for n in numbers] == steps
