"""What a round has agents do: side by side, or record after record where they share tables."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from flows.operate.agent import AgentRunner
from flows.operate.base import Batch

Work = tuple[AgentRunner, Sequence[Any], Sequence[int], Batch]
"""Values for an agent, with their places in a batch."""


async def side_by_side(work: list[Work]) -> None:
    """Let each agent go through what is its own, in order."""
    by_runner: dict[AgentRunner, list[Work]] = {}
    for item in work:
        by_runner.setdefault(item[0], []).append(item)
    if len(by_runner) == 1:
        await _through(work)
    else:
        await asyncio.gather(*(_through(items) for items in by_runner.values()))


async def _through(work: list[Work]) -> None:
    for runner, values, rows, batch in work:
        await runner.run(values, rows, batch)


async def one_by_one(work: list[Work]) -> None:
    """Take record after record through agents that share tables, so that no cut shows in what they see."""
    queue = [
        (due, order, row, runner, value, batch)
        for order, ((runner, values, rows, batch), dues) in enumerate(zip(work, dues_of(work), strict=True))
        for value, row, due in zip(values, rows, dues, strict=True)
    ]
    queue.sort(key=lambda item: item[:3])
    for _, _, row, runner, value, batch in queue:
        await runner.run([value], [row], batch)


def dues_of(work: list[Work]) -> list[Sequence[int]]:
    """Return the turns that the values of each piece of work are due to."""
    return [rows if batch.triggers is None else batch.triggers[list(rows)].tolist() for *_, rows, batch in work]


def due_within(work: list[Work], dues: list[Sequence[int]], turns: slice) -> list[Work]:
    """Return what of some work is due at some turns."""
    found = []
    for (runner, values, rows, batch), own in zip(work, dues, strict=True):
        begin, end = bisect_left(own, turns.start), bisect_left(own, turns.stop)
        if begin < end:
            found.append((runner, values[begin:end], rows[begin:end], batch))
    return found
