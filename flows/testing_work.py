"""How the test driver lets tasks work."""

from __future__ import annotations

import asyncio
from typing import Any

from flows.run.free_timers import FreeTimer
from flows.run.task import Task
from flows.testing_loop import ManualLoop


class Ticks:
    """The timers that belong to no task: they tick beside the tasks, as in a worker, so that one may ask an agent.

    One that is under way, because it sleeps or waits for an answer, does not tick again before it has ended.
    """

    def __init__(self, loop: ManualLoop) -> None:
        self.timers: list[FreeTimer] = []
        self._loop = loop
        self._under_way: dict[FreeTimer, asyncio.Task[None]] = {}

    @property
    def under_way(self) -> list[asyncio.Task[None]]:
        return list(self._under_way.values())

    def begin(self) -> None:
        """Let each timer that is due run, one after the other, until it waits."""
        for timer in self.timers:
            if timer not in self._under_way:
                self._under_way[timer] = self._loop.run_to_end(timer.tick())
        self.look()

    def look(self) -> None:
        """Forget those that have ended; raises what a timer raised that may not."""
        for timer, tick in list(self._under_way.items()):
            if tick.done():
                del self._under_way[timer]
                tick.result()

    def dues(self) -> list[float]:
        """Return the seconds until those that are not under way are due."""
        return [timer.schedule.left() for timer in self.timers if timer not in self._under_way]


async def result(task: asyncio.Task[Any]) -> Any:
    """Return what a task comes to."""
    return await task


async def finish(task: Task) -> None:
    """Let a task go as a worker does that hands it over."""
    try:
        await task.finish()
    finally:
        await task.close()


async def work_on(task: Task) -> bool:
    """Do all that a task can do now; tell whether anything moved."""
    moved = False
    while await task.step(0.0):
        moved = True
    if task.hold_commits:
        return moved
    return await task.tick() or moved


async def no_pause(attempt: int) -> None:
    """Retry at once: a test waits for nothing."""
