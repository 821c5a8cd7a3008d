"""How the test driver lets tasks work."""

from __future__ import annotations

import asyncio
from typing import Any

from flows.run.task import Task


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
