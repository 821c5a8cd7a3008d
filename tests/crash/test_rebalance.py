"""Tasks move between workers that die: at each numbered step of the hand-over, on either side, and again and again."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows.run.handover
from flows.brokers.base import Outgoing, TopicPartition
from flows.compile.context import topic_encoders
from flows.decode.codecs import Codecs
from flows.testing import Driver
from tests.crash.airport import PARTITION, Airport, Flight, check, history
from tests.crash.deaths import STEPS
from tests.crash.members import Group
from tests.drawn import drawn

REBALANCES = [f"rebalance {n}" for n in range(1, 11)]
GIVER = [*REBALANCES, "commit 1", "commit 3", "commit 4", "commit 6"]
TAKER = ["rebalance 1", "rebalance 6", *(s for s in STEPS if not s.startswith("commit"))]


def send(group: Group, flights: Iterator[Flight], count: int) -> None:
    """Append the next flights, for the members to find."""
    encoders = topic_encoders(group.plan, Codecs(group.plan), group.broker.max_record_bytes, lambda: 0)
    for _ in range(count):
        flight = next(flights)
        _, where, key, data, ms, own = encoders.encode(
            "flights", flight, None, flight.at, PARTITION[flight.origin], None
        )
        out = Outgoing()
        out.append(key, data, ms, own)
        group.run(group.broker.produce({TopicPartition("flights", where): out}))


def live_through(group: Group) -> None:
    """Take a group through all that may move a task, with records coming in all the while."""
    flights = iter(history(26))
    group.start("a")
    send(group, flights, 6)
    group.settle()
    # Another joins, and takes its share.
    send(group, flights, 3)
    group.start("b")
    send(group, flights, 3)
    group.settle()
    # One is taken for dead, though it lives.
    group.broker.expel("airport", group.machines["a"].id)
    send(group, flights, 4)
    group.settle()
    # One joins and another leaves at the same time.
    group.start("c")
    group.machines["b"].leave()
    send(group, flights, 4)
    group.settle()
    # One joins and leaves before it was given anything, and another that holds tasks leaves.
    group.start("d")
    group.machines["d"].leave()
    group.machines["a"].leave()
    send(group, flights, 6)
    group.settle()


def survive(*deaths: tuple[str, str]) -> Group:
    airport = Airport()
    group = Group(airport.app, list(deaths))
    try:
        live_through(group)
        with Driver(airport.app, broker=group.broker) as t:
            check(t, airport, history(26))
    finally:
        group.close()
    return group


def test_nobody_dies() -> None:
    assert survive().died == []


@pytest.mark.parametrize("step", GIVER)
def test_death_of_the_one_that_gives(step: str) -> None:
    assert survive(("a", step)).died == [("a", step)]


@pytest.mark.parametrize("step", TAKER)
def test_death_of_the_one_that_takes(step: str) -> None:
    assert survive(("b", step)).died == [("b", step)]


DEATHS = st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.sampled_from([*REBALANCES, *STEPS])), max_size=8)


@drawn(15)
@given(DEATHS)
def test_deaths_at_any_steps_in_any_order(deaths: list[tuple[str, str]]) -> None:
    survive(*deaths)


def test_every_numbered_step_has_its_probe() -> None:
    """A step that is added to the protocol must be added to the deaths above."""
    text = flows.run.handover.Handover.__doc__ or ""
    assert [f"rebalance {n}" for n in re.findall(r"^ +(\d+)\. ", text, flags=re.MULTILINE)] == REBALANCES
