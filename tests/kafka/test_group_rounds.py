"""Rounds of a group as a model: whatever comes, goes, restarts or misses an answer, no task has two holders."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flows.brokers.kafka.assignor_rounds import deal, running_plan
from flows.brokers.kafka.membership_said import Said, Told, pack_said, pack_told, unpack_said, unpack_told
from flows.brokers.kafka.membership_tasks import Tasks

PLANS = {"1": [f"a/{n}" for n in range(5)], "2": [f"a/{n}" for n in range(4)] + ["b/0"]}


class Process:
    """A worker: what its membership decides, and the tasks that its engine runs."""

    def __init__(self, member: str, plan: str) -> None:
        self.member, self.plan = member, plan
        self.tasks = Tasks(plan)
        self.running: frozenset[str] = frozenset()
        self.assigned: frozenset[str] = frozenset()
        self.since = self.seen = self.turn = 0
        self.ran = ""

    def says(self) -> Said:
        return Said(
            member=self.member,
            plan=self.plan,
            tasks={task: [("t", 0)] for task in PLANS[self.plan]},
            owned=sorted(self.tasks.held),
            since=self.since,
            seen=self.seen,
            ran=self.ran,
            turn=self.turn,
        )

    def hears(self, generation: int, told: Told | None) -> bool:
        self.seen, self.since = generation, self.since or generation
        self.ran = told.plan if told is not None else self.ran
        return self.tasks.take(told)

    def follow(self) -> None:
        """Start what is assigned; what is not goes on until it is released."""
        news = self.tasks.news(self.tasks.target)
        if news is not None:
            self.assigned = news
            self.running |= news

    def let_go(self) -> bool:
        leaving = self.running - self.assigned
        self.running -= leaving
        return bool(leaving) and self.tasks.release(leaving)


class Group(RuleBasedStateMachine):
    """A coordinator with its members; a round is due when one of them wants it or the set of them has changed."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[str, Process] = {}
        self.told: dict[str, Told] = {}
        self.generation = 0
        self.due = False
        self.names = iter(range(1_000))

    @rule(plan=st.sampled_from("12"))
    @precondition(lambda self: len(self.live) < 5)
    def join(self, plan: str) -> None:
        name = f"m{next(self.names)}"
        self.live[name] = Process(name, plan)
        self.due = True

    @rule(data=st.data())
    @precondition(lambda self: self.live)
    def die(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.live)))
        del self.live[name]
        self.told.pop(name, None)
        self.due = True

    @rule(data=st.data(), plan=st.sampled_from("12"))
    @precondition(lambda self: self.live)
    def restart(self, data: st.DataObject, plan: str) -> None:
        """A static member comes back as another process and is told the same as the one before, without a round."""
        name = data.draw(st.sampled_from(sorted(self.live)))
        self.live[name] = Process(name, plan)
        if name in self.told and not self.due:
            self.due |= self.live[name].hears(self.generation, self.told[name])

    @rule(data=st.data())
    def attend(self, data: st.DataObject) -> None:
        """A round, of which some hear nothing: they join the next, which they cause."""
        if not self.due:
            return
        deaf = data.draw(st.sets(st.sampled_from(sorted(self.live)))) if self.live else set()
        self.round(deaf)

    @rule(data=st.data())
    @precondition(lambda self: self.live)
    def engine(self, data: st.DataObject) -> None:
        process = self.live[data.draw(st.sampled_from(sorted(self.live)))]
        process.follow()
        if data.draw(st.booleans()):
            self.due |= process.let_go()

    @rule(data=st.data())
    @precondition(lambda self: self.live)
    def release_what_should_stay(self, data: st.DataObject) -> None:
        process = self.live[data.draw(st.sampled_from(sorted(self.live)))]
        released = data.draw(st.sets(st.sampled_from(sorted(process.running)))) if process.running else set()
        process.running -= released
        self.due |= process.tasks.release(released)

    def round(self, deaf: set[str]) -> None:
        self.generation += 1
        self.due = bool(deaf)
        self.told = deal({name: process.says() for name, process in self.live.items()})
        for name in self.live.keys() - deaf:
            self.due |= self.live[name].hears(self.generation, self.told[name])

    @invariant()
    def no_task_has_two_holders(self) -> None:
        for kind in ("running", "held"):
            found = [t for p in self.live.values() for t in (p.running if kind == "running" else p.tasks.held)]
            assert len(found) == len(set(found)), kind

    @invariant()
    def what_runs_is_held(self) -> None:
        assert all(process.running <= process.tasks.held for process in self.live.values())

    def teardown(self) -> None:
        """Left alone, the group runs every task of one plan, evenly."""
        if not self.live:
            return
        for _ in range(20):
            for process in self.live.values():
                process.follow()
                self.due |= process.let_go()
            if self.due:
                self.round(set())
        assert not self.due
        plan = running_plan({name: process.says() for name, process in self.live.items()})
        shares = {name: process.running for name, process in self.live.items()}
        assert sorted(task for share in shares.values() for task in share) == sorted(PLANS[plan])
        sizes = [len(shares[name]) for name, process in self.live.items() if process.plan == plan]
        assert max(sizes) - min(sizes) <= 1


TestGroup = Group.TestCase


def said(member: str, plan: str, **more: Any) -> Said:
    return Said(member=member, plan=plan, tasks={"a/0": [("a", 0)], "a/1": [("a", 1)]}, **more)


def test_a_plan_runs_until_its_last_member_has_left() -> None:
    old = said("old", "1", since=1, seen=7, ran="1")
    new, other = said("new", "2", since=5, seen=7, ran="1"), said("other", "3", since=4, seen=7, ran="1")

    told = deal({"o": old, "n": new, "x": other})
    assert (told["o"].tasks, told["n"].tasks, told["x"].tasks) == (["a/0", "a/1"], [], [])
    assert {one.plan for one in told.values()} == {"1"}
    assert running_plan({"n": new, "x": other}) == "3"


def test_a_member_that_saw_more_is_believed() -> None:
    stale = said("stale", "1", owned=["a/0", "a/1"], seen=3, ran="1")
    holder = said("holder", "1", owned=["a/0"], seen=4, ran="1")

    told = deal({"s": stale, "h": holder})
    assert (told["s"].tasks, told["h"].tasks) == (["a/1"], ["a/0"])


def test_copies_are_told_to_others_than_the_holder() -> None:
    told = deal({"x": said("x", "1", standbys=1), "y": said("y", "1", standbys=1)})
    assert (told["x"].tasks, told["x"].standbys) == (told["y"].standbys, told["y"].tasks)


def test_the_next_holder_is_told_to_warm_up_and_the_holder_goes_on() -> None:
    told = deal({"x": said("x", "1", owned=["a/0", "a/1"], lags={"a/0": 0, "a/1": 0}), "y": said("y", "1")})
    assert (told["x"].tasks, told["x"].leaving) == (["a/0", "a/1"], [])
    assert (told["y"].standbys, told["y"].warming) == (["a/1"], ["a/1"])


def test_what_is_said_and_told_survives_the_wire() -> None:
    one = said("x", "1", owned=["a/0"], lags={"a/0": 3})
    told = Told(plan="1", tasks=["a/0"], leaving=["a/1"])

    assert unpack_said(pack_said(one)) == one
    assert unpack_told(pack_told(told, one.tasks)) == told
    assert unpack_told(b"") is None


def test_a_static_member_that_goes_back_to_the_running_plan_asks_for_a_share() -> None:
    here, away = said("here", "1", since=1, seen=3, ran="1"), said("away", "2")
    told = deal({"h": here, "a": away})["a"]

    assert not Tasks("2").take(told)
    assert Tasks("1").take(told)
    assert Tasks("2").take(deal({"h": here, "a": said("away", "1")})["a"])
