"""Timers that use no table: they belong to no task, so one worker of the group runs each of them."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import Any

from dsl.context import TableAccess, current
from dsl.plan.graph import Plan
from dsl.plan.nodes import TimerNode
from flows.brokers.base import Outgoing, TopicPartition
from flows.compile.context import topic_encoders
from flows.operate.schedule import schedule_of
from flows.run.environment import Environment

_LOOK = 60.0

log = logging.getLogger("flows.timer")


def timer_task_id(step: str) -> str:
    """Name a timer's task in the worker group."""
    return f"timer:{step}"


class DirectRuntime:
    """The engine around code outside of tasks: no tables, and what it sends is durable on return."""

    def __init__(self, env: Environment) -> None:
        self.tables: dict[str, TableAccess] = {}
        self._broker, self._clock = env.broker, env.clock
        self.ask = env.asking.ask
        self._encoders = topic_encoders(env.plan, env.broker.max_record_bytes, lambda: int(env.clock.now() * 1000))

    def now(self) -> float:
        """Return the wall clock's time, in seconds since the epoch."""
        return self._clock.now()

    def in_hand(self) -> tuple[float | None, Any]:
        """Return that no record is in hand."""
        return None, None

    async def send(
        self,
        topic: Any,
        value: Any,
        key: Any,
        timestamp: float | None,
        partition: int | None,
        headers: dict[str, bytes] | None,
    ) -> None:
        """Append a record at once."""
        name, where, key_bytes, data, ms, own = self._encoders.encode(
            topic.name, value, key, timestamp, partition, headers
        )
        out = Outgoing()
        out.append(key_bytes, data, ms, own)
        await self._broker.produce({TopicPartition(name, where): out})


class FreeTimer:
    """One such timer. What it raises is told and the next tick comes all the same."""

    def __init__(self, env: Environment, node: TimerNode) -> None:
        self.id = timer_task_id(node.id)
        self._env, self._node = env, node
        self._function = env.plan.functions[node.id]
        self._runtime = DirectRuntime(env)
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
        context = contextvars.copy_context()
        context.run(current.set, self._runtime)
        try:
            await asyncio.create_task(self._call(), context=context)
        except Exception as error:  # the person's function may raise anything
            self._env.metrics.trouble(f"timer {self._node.id}: {type(error).__name__}: {error}")
            log.exception("timer %s failed", self._node.id)

    async def _call(self) -> None:
        await self._function()


def free_timers(plan: Plan) -> list[TimerNode]:
    """Return the plan's timers that one worker of the group runs: they use no table."""
    return [node for node in plan.of_type(TimerNode) if not node.tables and not node.everywhere]
