"""Death at each numbered step with joins, changes, timers and their like: nothing that the app shows tells of it."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.testing import Driver
from tests.crash.deaths import COMMITS, STEPS, Deaths, survive
from tests.crash.harbour import Harbour, batches, shown
from tests.drawn import drawn


def send(t: Driver, records: list[tuple[str, Any]]) -> None:
    with t.batch():
        for topic, record in records:
            t.send(topic, record)


def run(probe: Deaths, *, moves: bool) -> dict[str, Any]:
    harbour = Harbour()
    with Driver(harbour.app, probe=probe, now=1_700_000_000.0) as t:
        probe.armed = True
        for number, records in enumerate(batches()):
            survive(t, send, t, records)
            if moves and number % 3 == 2:
                survive(t, t.rebalance if number % 2 else t.crash)
        probe.armed = False
        return shown(t, harbour)


@cache
def undisturbed() -> dict[str, Any]:
    return run(Deaths(), moves=False)


def test_there_is_something_to_see_of_each_step() -> None:
    found = undisturbed()
    assert [name for name, rows in found.items() if not rows] == []
    moves = sum(topic == "moves" for batch in batches() for topic, _ in batch)
    assert sum(row["moves"] for row in found["by_the_clock"]) == moves
    assert len(found["each-out"]) == moves


@pytest.mark.parametrize(("step", "call"), [*((step, 8) for step in STEPS), *((step, 40) for step in COMMITS)])
def test_death_at_a_step(step: str, call: int) -> None:
    probe = Deaths((step, call))
    assert run(probe, moves=True) == undisturbed()
    assert probe.happened == 1


@drawn(4)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(1, 30)), min_size=1, max_size=6))
def test_death_again_and_again(deaths: list[tuple[str, int]]) -> None:
    assert run(Deaths(*deaths), moves=True) == undisturbed()
