"""A worker that holds less than its share says whom it waits for."""

from __future__ import annotations

import asyncio

import pytest

import flows
from flows.brokers.base import Member
from flows.run.waiting import waits_for
from tests.crash.members import Group

TASKS = [f"orders/{n}" for n in range(4)]
ALL = tuple(TASKS)


def lines(*members: Member) -> list[str]:
    return [line for _, line in waits_for("me", "new", TASKS, members)]


def test_one_that_has_its_share_waits_for_nobody() -> None:
    assert lines(Member(id="me", plan="new", tasks=ALL)) == []
    assert lines(Member(id="me", plan="new", tasks=ALL[:2]), Member(id="other", plan="new", tasks=ALL[2:])) == []
    assert lines(Member(id="other", plan="new", tasks=ALL)) == []


def test_a_member_that_still_holds_its_tasks_is_named_with_the_time_that_is_left() -> None:
    other = Member(id="host-7-abc", address="http://127.0.0.1:6066", plan="new", tasks=ALL, expires_in=7.6)
    assert lines(other, Member(id="me", plan="new")) == [
        "waits for 2 of its tasks: host-7-abc (http://127.0.0.1:6066) still holds 4 tasks; "
        "if it is gone, they come in 8 s at most"
    ]


def test_members_of_another_plan_are_waited_for_until_the_last() -> None:
    old = [Member(id=f"old{n}", plan="old", tasks=(TASKS[n],)) for n in range(2)]
    assert lines(*old, Member(id="idle", plan="old"), Member(id="me", plan="new")) == [
        f"waits until old{n} has left: it runs another version of the plan and holds 1 task" for n in range(2)
    ]


def test_a_worker_that_waits_for_a_dead_one_says_so_within_a_second(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "flows.worker")
    app = flows.App("orders")
    orders = app.topic("orders", value=dict, partitions=4)

    @app.agent(orders)
    async def nothing(stream):
        async for _ in stream:
            pass

    group = Group(app)
    try:
        dead = group.start("a")
        group.settle()
        dead.life.over = True
        watching = []
        b = group.start("b")
        group.loop.run_until_quiet()
        watching.append(group.loop.create_task(b.handover.watch()))
        group.pass_time(1.0)
        said = [r.getMessage() for r in caplog.records if "waits" in r.getMessage()]
        assert said == ["waits for 2 of its tasks: a-1 (a-1:6066) still holds 4 tasks"]
        group.settle()
        assert len(b.runner.tasks) == 2
        watching[0].cancel()
        group.run(asyncio.wait(watching))
    finally:
        group.close()
