"""What may come between: tasks that come back, that are taken while they are restored, and that cannot finish."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

import flows
from flows.brokers.base import Outgoing, TopicPartition
from flows.run.runner import PATIENCE
from flows.testing import Driver
from tests.crash.members import Group

PARTITIONS = 4


class Counting:
    """An app that counts by key, whose agent waits in some records until told to go on; and a group that runs it."""

    def __init__(self) -> None:
        self.app = app = flows.App("counting")
        self.words = app.topic("words", value=str, partitions=PARTITIONS)
        self.counts = counts = app.table("counts", key=str, value=int, default=int)
        self.gate = asyncio.Event()

        @app.agent(self.words)
        async def count(stream):
            async for word in stream:
                if word == "wait":
                    await self.gate.wait()
                counts[word] += 1

        self.group = Group(app)
        self.sent = 0

    def send(self, *words: str) -> None:
        """Send words to every partition."""
        for partition in range(PARTITIONS):
            out = Outgoing()
            for word in words:
                out.append(None, word.encode(), 0)
            self.group.run(self.group.broker.produce({TopicPartition("words", partition): out}))

    def rows(self) -> dict[str, int]:
        """Sum the committed counts over the partitions, as a new worker finds them."""
        with Driver(self.app, broker=self.group.broker) as t:
            found: dict[str, int] = {}
            for row in t.table(self.counts).rows():
                found[row["key"]] = found.get(row["key"], 0) + row["value"]
        return found


@pytest.fixture
def counting() -> Iterator[Counting]:
    made = Counting()
    yield made
    made.group.close()


def test_a_task_given_back_before_it_has_let_go_goes_on(counting: Counting) -> None:
    group = counting.group
    a = group.start("a")
    counting.send("one")
    group.settle()
    before = dict(a.runner.tasks)
    counting.send("wait", "two")
    group.pass_time(0.5)
    b = group.start("b")
    group.go_on()
    assert len(a.handover._wanted) == 2
    group.broker.expel("counting", b.id)
    b.leave()
    group.go_on()
    counting.gate.set()
    group.settle()
    assert a.runner.tasks == before
    assert counting.rows() == {"one": 4, "wait": 4, "two": 4}


@pytest.mark.parametrize("step", ["rebalance 2", "rebalance 3", "rebalance 4", "rebalance 5"])
def test_a_task_that_comes_back_while_it_is_let_go_starts_again(counting: Counting, step: str) -> None:
    group = counting.group
    a = group.start("a")
    counting.send("one")
    group.settle()
    group.meanwhile["a", step] = lambda: group.broker.expel("counting", "b-1")
    counting.send("two")
    group.start("b")
    counting.send("three")
    group.settle()
    assert not group.meanwhile
    group.machines["b"].leave()
    group.settle()
    assert sorted(a.runner.tasks) == [f"words/{n}" for n in range(PARTITIONS)]
    counting.send("four")
    group.settle()
    assert counting.rows() == {"one": 4, "two": 4, "three": 4, "four": 4}


@pytest.mark.parametrize("step", [*(f"start {n}" for n in range(1, 7)), *(f"restore {n}" for n in range(1, 6))])
def test_a_rebalance_in_the_middle_of_a_restore(counting: Counting, step: str) -> None:
    group = counting.group
    group.start("old")
    counting.send("one", "two")
    group.settle()
    group.machines["old"].leave()
    group.meanwhile["a", step] = lambda: group.start("b")
    group.start("a")
    counting.send("three")
    group.settle()
    assert not group.meanwhile
    assert [len(group.machines[name].runner.tasks) for name in ("a", "b")] == [2, 2]
    assert counting.rows() == {"one": 4, "two": 4, "three": 4}


@pytest.mark.parametrize("step", [*(f"start {n}" for n in range(1, 7)), *(f"restore {n}" for n in range(1, 6))])
def test_the_place_in_the_group_is_lost_in_the_middle_of_a_restore(counting: Counting, step: str) -> None:
    group = counting.group
    group.start("old")
    counting.send("one", "two")
    group.settle()
    group.machines["old"].leave()
    group.meanwhile["a", step] = lambda: group.broker.expel("counting", "a-1")
    a = group.start("a")
    group.start("b")
    counting.send("three")
    group.settle()
    assert not group.meanwhile
    assert len(a.runner.tasks) == 2
    assert counting.rows() == {"one": 4, "two": 4, "three": 4}


def test_a_task_that_cannot_finish_goes_uncommitted(counting: Counting, caplog: pytest.LogCaptureFixture) -> None:
    group = counting.group
    a = group.start("a")
    counting.send("one")
    group.settle()
    counting.send("wait", "two")
    group.pass_time(0.5)
    group.start("b")
    group.pass_time(PATIENCE - 0.2)
    assert len(a.runner.tasks) == PARTITIONS
    group.pass_time(0.4)
    assert len(a.runner.tasks) == PARTITIONS / 2
    assert "was taken away before it was done" in caplog.text
    counting.gate.set()
    group.settle()
    assert counting.rows() == {"one": 4, "wait": 4, "two": 4}


def test_a_worker_that_stops_does_not_wait_for_ever(counting: Counting) -> None:
    group = counting.group
    a = group.start("a")
    counting.send("wait")
    group.pass_time(0.5)
    a.leave()
    group.pass_time(PATIENCE + 0.2)
    assert not a.running
    counting.gate.set()
    group.start("b")
    group.settle()
    assert counting.rows() == {"wait": 4}
