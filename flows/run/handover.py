"""The hand-over of tasks among the members of a group: what one of them does when it is given tasks and loses them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from flows.brokers.base import Membership
from flows.errors import BrokerError, BrokerUnavailable, Fenced, Replaced
from flows.run.environment import Environment
from flows.run.runner import TaskRunner
from flows.run.standby import Standbys
from flows.run.waiting import tell_waiting

log = logging.getLogger("flows.worker")

_RETRY = 0.5
_REPORT = 0.5


class Handover:
    """Keep running what the group gives to this member.

    `rebalance`, as one member goes through it; each task goes its way by itself, so that none holds back another:

    1. The group tells which tasks this member should hold.
    2. A task that is no longer among them takes no more records and finishes those in hand. One that is still
       restored, or that cannot finish within `runner.PATIENCE` seconds, goes uncommitted.
    3. It commits.
    4. It closes its store, with all in it that is committed, its reader and its producer.
    5. It is released: its next holder may claim it. If it was given back in the meantime it goes on here instead.
    6. A task that is new asks the group whether it is still this member's, since time may have passed, and starts:
       `start 1` fences whoever held it before.

    When the group says that this member has lost its place (its lease ran out; `Fenced`):

    7. All tasks are abandoned as by a crash: nothing more is committed, nothing released, since others may have them.
    8. The member joins again and goes on with 1. Not so where another process has joined with its id (`Replaced`):
       the two would throw each other out for ever, so the older, which this is, ends.

    When the worker stops:

    9. All tasks go through 2 to 4, and none through 5, since it would be given back.
    10. The member leaves the group, which releases them all.
    """

    def __init__(
        self,
        env: Environment,
        member_id: str,
        runner: TaskRunner,
        copies: Standbys,
        failed: Callable[[BaseException | None], None],
        moved: Callable[[frozenset[str], frozenset[str]], None] = lambda assigned, revoked: None,
    ) -> None:
        self._moved = moved
        self.state = "starting"
        self._env, self._id, self._runner, self._copies, self._failed = env, member_id, runner, copies, failed
        self._membership: Membership | None = None
        self._address, self._plan = "", ""
        self._wanted: frozenset[str] = frozenset()
        self._news: set[str] = set()  # the tasks of the last assignment that have not looked at it yet
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._leaving = False

    @property
    def settled(self) -> bool:
        """Whether all that the group gave is running."""
        return self.state == "running" and self._runner.all_ready(self._wanted)

    async def join(self, address: str, plan: str) -> None:
        """Join the group; `address` is told to the others, `plan` decides whom tasks are shared with.

        Tries until it is in: brokers may be away, and on a slow one a lease may run out before the first round is over.
        Raises `Replaced`.
        """
        self._address, self._plan = address, plan
        env = self._env
        while True:
            try:
                self._membership = await env.broker.join(
                    env.group,
                    self._id,
                    self._runner.inputs,
                    address=address,
                    plan=plan,
                    standbys=self._copies.replicas,
                    lags=await self._copies.all_lags(self._runner.inputs),
                )
                return
            except Replaced:
                raise
            except (Fenced, BrokerUnavailable) as error:
                log.warning("cannot join the group %r, tries again: %s", env.group, error)
                env.metrics.trouble(str(error))
                await asyncio.sleep(_RETRY)

    async def follow(self) -> None:
        """Take over and hand back tasks as the group says, until cancelled; raises `Replaced`."""
        while True:
            try:
                wanted = await self._member.assignment()
            except Replaced:
                await self._abandon()
                raise
            except (Fenced, BrokerUnavailable) as error:
                log.warning("this worker lost its place in the group (%s): it joins again", error)
                await self._abandon()
                self._env.probe("rebalance 7")
                await self.join(self._address, self._plan)
                self._env.probe("rebalance 8")
                continue
            # 1
            self._env.probe("rebalance 1")
            self._take(wanted)

    async def watch(self) -> None:
        """Say whom this member waits for, where it holds less than it should; until cancelled."""
        await tell_waiting(self._env, self._member_or_none, self._id, self._plan, self._runner.inputs)

    async def report(self) -> None:
        """Tell the group how complete the state here is, so that tasks go where theirs is; until cancelled."""
        while True:
            await asyncio.sleep(_REPORT)
            if self._membership is None or self._env.broker.shares_disk:
                continue
            self._keep_copies()
            running = {t: 0 for t, task in self._runner.tasks.items() if task.ready}
            try:
                await self._member.report({**self._copies.lags, **running})
            except BrokerError as error:
                log.debug("cannot tell the group of the state here: %s", error)  # `follow` meets and tells the same

    async def leave(self) -> None:
        """Finish, commit and close all tasks, then leave the group. `follow` must have been cancelled."""
        # 9
        self._leaving = True
        await self._copies.close()
        for task_id in self._runs:
            self._runner.end(task_id)
        await asyncio.gather(*self._runs.values(), return_exceptions=True)
        self._env.probe("rebalance 9")
        # 10
        await self._member.leave()
        self._env.probe("rebalance 10")

    async def abort(self) -> None:
        """Let everything go as it stands."""
        self._leaving = True
        await self._copies.close()
        await self._abandon()

    @property
    def _member(self) -> Membership:
        assert self._membership is not None, "join first"
        return self._membership

    def _member_or_none(self) -> Membership | None:
        return self._membership

    def _take(self, wanted: frozenset[str]) -> None:
        log.info("holds %d of %d tasks", len(wanted), len(self._runner.inputs))
        self.state = "running"
        self._env.metrics.rebalances += wanted != self._wanted
        self._moved(wanted - self._wanted, self._wanted - wanted)
        self._wanted, self._news = wanted, set(wanted)
        for task_id in self._runs.keys() - wanted:
            self._runner.end(task_id)
        for task_id in wanted:
            self._runner.go_on(task_id)
        for task_id in sorted(wanted - self._runs.keys()):
            run = self._runs[task_id] = asyncio.create_task(self._keep(task_id), name=task_id)
            run.add_done_callback(self._kept)
        self._keep_copies()

    def _keep_copies(self) -> None:
        if not self._leaving:
            self._copies.keep(self._member.standbys - self._runs.keys())

    async def _keep(self, task_id: str) -> None:
        """Run a task for as long as the group gives it to this member."""
        try:
            given = True
            while given:
                self._news.discard(task_id)
                await self._copies.end(task_id)
                # 6, and 2 to 4 at its end
                ended = await self._runner.run(task_id, lambda: self._still_holds(task_id))
                if self._leaving:
                    return
                back = ended and task_id in self._wanted  # given back meanwhile, and never released
                if ended and not back:
                    # 5
                    await self._release([task_id])
                    self._env.probe("rebalance 5")
                given = back or task_id in self._news
        finally:
            del self._runs[task_id]

    def _kept(self, run: asyncio.Task[None]) -> None:
        if not run.cancelled() and run.exception() is not None:
            self._failed(run.exception())

    async def _release(self, tasks: Iterable[str]) -> None:
        while True:
            try:
                return await self._member.release(tasks)
            except Fenced:
                return None  # `follow` learns of it too
            except BrokerUnavailable as error:
                log.warning("cannot hand back %s, tries again: %s", ", ".join(tasks), error)
                await asyncio.sleep(_RETRY)

    async def _still_holds(self, task_id: str) -> bool:
        return any(m.id == self._id and task_id in m.tasks for m in await self._member.members())

    async def _abandon(self) -> None:
        self._wanted, self._news = frozenset(), set()
        runs = list(self._runs.values())
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)
