"""Groups: who holds which task, as members come, go, take over and wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from uuid import uuid4

import pytest

from flows.brokers.base import Broker, Membership
from flows.errors import BrokerError, Fenced, Replaced
from tests.contracts.broker_fixtures import Handles

TASKS = [f"app-{n}" for n in range(6)]
LONG = 20.0  # seconds; a test that waits this long has failed

Tasks = frozenset[str]


class Worker:
    """Follow a membership as the engine does: hand back at once what is no longer assigned."""

    def __init__(self, membership: Membership) -> None:
        self.membership = membership
        self.held: Tasks = frozenset()
        self.history: list[Tasks] = []
        self.changed = asyncio.Event()
        self.error: BrokerError | None = None
        self.following = asyncio.ensure_future(self._follow())

    async def _follow(self) -> None:
        try:
            while True:
                tasks = await self.membership.assignment()
                lost, self.held = self.held - tasks, tasks
                self.history.append(tasks)
                if lost:
                    await self.membership.release(lost)
                self.changed.set()
        except BrokerError as error:
            self.error = error
            self.changed.set()

    async def until(self, condition: Callable[[Tasks], bool]) -> Tasks:
        async with asyncio.timeout(LONG):
            while not condition(self.held):
                assert self.error is None
                self.changed.clear()
                await self.changed.wait()
        return self.held

    async def leave(self) -> None:
        self.following.cancel()
        await self.membership.leave()


async def all_until(workers: Sequence[Worker], condition: Callable[[list[Tasks]], bool]) -> None:
    """Wait until a condition holds for what all of them hold."""
    async with asyncio.timeout(LONG):
        while not condition([worker.held for worker in workers]):
            waits = [asyncio.ensure_future(worker.changed.wait()) for worker in workers]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for worker, wait in zip(workers, waits, strict=True):
                wait.cancel()
                worker.changed.clear()


@pytest.fixture
def group() -> str:
    return f"group-{uuid4().hex[:8]}"


async def join(broker: Broker, group: str, member: str, plan: str = "") -> Worker:
    return Worker(await broker.join(group, member, dict.fromkeys(TASKS, ()), address=f"{member}:6066", plan=plan))


def has(count: int) -> Callable[[Tasks], bool]:
    return lambda held: len(held) == count


async def test_the_only_member_holds_every_task_at_once(broker: Broker, group: str):
    membership = await broker.join(group, "one", dict.fromkeys(TASKS, ()))

    assert await asyncio.wait_for(membership.assignment(), LONG) == frozenset(TASKS)


async def test_a_join_moves_only_its_share_and_a_leave_gives_it_back(broker: Broker, group: str):
    one = await join(broker, group, "one")
    await one.until(has(6))
    first = one.membership.generation

    two = await join(broker, group, "two")
    theirs = await two.until(has(3))
    assert await one.until(has(3)) | theirs == frozenset(TASKS)
    assert one.membership.generation > first
    three = await join(broker, group, "three")
    await three.until(has(2))
    await asyncio.gather(one.until(has(2)), two.until(has(2)))
    assert one.held < frozenset(TASKS) - theirs
    assert two.held < theirs
    kept = one.held

    await two.leave()
    await one.until(has(3))
    await three.until(has(3))
    assert kept < one.held
    assert one.held | three.held == frozenset(TASKS)


async def test_members_of_several_brokers_share_the_tasks(broker_handles: Handles, group: str):
    workers = [await join(await broker_handles.open(), group, f"w{n}") for n in range(4)]

    await all_until(workers, lambda held: sorted(map(len, held)) == [1, 1, 2, 2])

    assert frozenset().union(*(worker.held for worker in workers)) == frozenset(TASKS)


async def test_a_task_is_not_claimed_before_its_holder_released_it(broker: Broker, group: str):
    slow = await broker.join(group, "slow", dict.fromkeys(TASKS, ()))
    assert await slow.assignment() == frozenset(TASKS)
    other = await join(broker, group, "other")

    kept = await asyncio.wait_for(slow.assignment(), LONG)
    leaving = frozenset(TASKS) - kept
    assert len(kept) == 3
    assert (await slow.members())[0].tasks == tuple(TASKS)
    assert other.held == frozenset()

    (task, *_) = leaving
    await slow.release([task])
    assert await other.until(has(1)) == {task}
    await slow.release(leaving)
    assert await other.until(has(3)) == leaving


async def test_a_task_released_by_its_rightful_holder_is_assigned_anew(broker: Broker, group: str):
    membership = await broker.join(group, "one", dict.fromkeys(TASKS, ()))
    await membership.assignment()

    await membership.release([TASKS[0]])

    assert await asyncio.wait_for(membership.assignment(), LONG) == frozenset(TASKS)


async def test_what_is_taken_back_before_it_was_told_needs_no_release(broker: Broker, group: str):
    slow = await broker.join(group, "slow", dict.fromkeys(TASKS, ()))
    other = await join(broker, group, "other")
    async with asyncio.timeout(LONG):
        while slow.generation < other.membership.generation:
            await asyncio.wait_for(other.membership.members(), LONG)

    kept = await asyncio.wait_for(slow.assignment(), LONG)

    assert len(kept) == 3
    assert await other.until(has(3)) == frozenset(TASKS) - kept


async def test_members_of_another_plan_wait_until_the_old_have_left(broker: Broker, group: str):
    old = [await join(broker, group, f"old{n}", plan="1") for n in range(2)]
    for worker in old:
        await worker.until(has(3))
    new = await join(broker, group, "new", plan="2")
    assert await asyncio.wait_for(new.membership.members(), LONG)

    await old[0].leave()
    await old[1].until(has(6))
    assert new.held == frozenset()
    await old[1].leave()

    assert await new.until(has(6)) == frozenset(TASKS)
    assert all(tasks == frozenset() for tasks in new.history[:-1])


async def test_the_members_are_listed_with_what_they_hold(broker: Broker, group: str):
    assert await broker.group_members(group) == []
    one = await join(broker, group, "one", plan="p")
    await one.until(has(6))

    (member,) = await broker.group_members(group)

    assert (member.id, member.address, member.plan, member.tasks) == ("one", "one:6066", "p", tuple(TASKS))
    assert member.expires_in is None or 0.0 < member.expires_in <= 60.0
    await one.leave()
    assert await broker.group_members(group) == []


async def test_a_second_holder_of_an_id_takes_over_and_the_first_is_told(broker_handles: Handles, group: str):
    first = await join(await broker_handles.open(), group, "same")
    await first.until(has(6))
    second = await join(await broker_handles.open(), group, "same")

    assert await second.until(has(6)) == frozenset(TASKS)
    async with asyncio.timeout(LONG):
        await first.following
    assert isinstance(first.error, Replaced)
    with pytest.raises(Fenced, match="same"):
        await first.membership.release(TASKS)


async def test_closing_the_broker_leaves_its_groups(broker_handles: Handles, group: str):
    going = await broker_handles.open()
    await (await join(going, group, "going")).until(has(6))
    staying = await join(await broker_handles.open(), group, "staying")

    await going.close()

    assert await staying.until(has(6)) == frozenset(TASKS)


async def test_a_join_that_is_cancelled_holds_nothing(broker: Broker, group: str):
    joining = asyncio.ensure_future(broker.join(group, "gone", dict.fromkeys(TASKS, ())))
    await asyncio.sleep(0)
    joining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await joining

    staying = await join(broker, group, "staying")
    assert await staying.until(has(6)) == frozenset(TASKS)


async def test_groups_do_not_see_each_other(broker: Broker, group: str):
    one, two = await join(broker, group, "one"), await join(broker, group + "-2", "one")

    assert await one.until(has(6)) == await two.until(has(6)) == frozenset(TASKS)
