"""Timers that use no table: they belong to no task, so one worker of the group runs each of them."""

from __future__ import annotations

import asyncio
import logging

from dsl.plan.graph import Plan
from dsl.plan.nodes import TimerNode
from flows.operate.schedule import schedule_of
from flows.run.direct import DirectRuntime, as_runtime
from flows.run.environment import Environment

_LOOK = 60.0

log = logging.getLogger("flows.timer")


def timer_task_id(step: str) -> str:
    """Name a timer's task in the worker group."""
    return f"timer:{step}"


class FreeTimer:
    """One such timer. What it raises is told and the next tick comes all the same."""

    def __init__(self, env: Environment, node: TimerNode) -> None:
        self.id = timer_task_id(node.id)
        self._env, self._node = env, node
        self._function = env.plan.functions[node.id]
        self._runtime = DirectRuntime.of(env)
        self.schedule = schedule_of(node, env.clock)
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """End after the tick that is under way."""
        self._stopped.set()

    async def run(self) -> None:
        """Tick until stopped."""
        while not self._stopped.is_set():
            # The wall clock may be set while a crontab waits.
            wait = min(max(0.0, self.schedule.left()), _LOOK)
            try:
                await asyncio.wait_for(self._stopped.wait(), wait)
            except TimeoutError:
                await self.tick()

    async def tick(self) -> None:
        """Run the timer if it is due."""
        if not self.schedule.take():
            return
        try:
            await as_runtime(self._runtime, self._function)
        except Exception as error:  # the person's function may raise anything
            self._env.metrics.trouble(f"timer {self._node.id}: {type(error).__name__}: {error}")
            log.exception("timer %s failed", self._node.id)


def free_timers(plan: Plan) -> list[TimerNode]:
    """Return the plan's timers that one worker of the group runs: they use no table."""
    return [node for node in plan.of_type(TimerNode) if not node.tables and not node.everywhere]
