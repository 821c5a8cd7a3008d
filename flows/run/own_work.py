"""What runs in a worker beside its share of the streams: the app's tasks, its timers of every worker, its hooks."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from dsl.app import App
from dsl.background import Hook
from dsl.plan.nodes import TaskNode, TimerNode
from flows.errors import FlowsError
from flows.run.direct import DirectRuntime, as_runtime
from flows.run.environment import Environment
from flows.run.free_timers import FreeTimer


def leader_task_id(step: str) -> str:
    """Name the task of the group that one worker runs."""
    return f"task:{step}"


class LeaderTask:
    """An app's task that one worker of the group runs; it is this worker's until it is asked to stop."""

    def __init__(self, env: Environment, node: TaskNode) -> None:
        self._env, self._node = env, node
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Cancel the function where it stands."""
        self._stopped.set()

    async def run(self) -> None:
        """Run the function, and stay until stopped. Raises `FlowsError` for what it raises."""
        work = asyncio.create_task(run_task(self._env, self._node))
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                await stopped
        finally:
            for task in (work, stopped):
                task.cancel()
            await asyncio.gather(work, stopped, return_exceptions=True)


async def run_task(env: Environment, node: TaskNode) -> None:
    """Run an app's task. Raises `FlowsError` for what it raises."""
    try:
        await as_runtime(DirectRuntime.of(env), env.plan.functions[node.id])
    except Exception as error:
        raise FlowsError(f"task {node.id!r} failed: {type(error).__name__}: {error}") from error


class OwnWork:
    """The tasks, timers and hooks of one worker."""

    def __init__(self, app: App, env: Environment) -> None:
        self._app, self._env = app, env
        self._runtime = DirectRuntime.of(env)
        self.timers = [FreeTimer(env, n) for n in env.plan.of_type(TimerNode) if n.everywhere]

    async def started(self) -> None:
        """Call `on_start`."""
        await self._call(self._app.on_start)

    async def ready(self) -> None:
        """Call `on_ready`."""
        await self._call(self._app.on_ready)

    async def rebalanced(self, assigned: frozenset[str], revoked: frozenset[str]) -> None:
        """Call `on_rebalance`."""
        await self._call(self._app.on_rebalance, set(assigned), set(revoked))

    async def stopped(self) -> None:
        """Call `on_stop`."""
        await self._call(self._app.on_stop)

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs from when the worker is ready until it stops."""
        tasks = [run_task(self._env, n) for n in self._env.plan.of_type(TaskNode) if not n.on_leader]
        return [*tasks, *(timer.run() for timer in self.timers)]

    async def _call(self, hook: Hook, *arguments: Any) -> None:
        try:
            await as_runtime(self._runtime, lambda: hook.call(*arguments))
        except Exception as error:
            raise FlowsError(f"{hook.name} failed: {type(error).__name__}: {error}") from error
