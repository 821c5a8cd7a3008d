"""Who is in the group and holds which task, as far as it is known here: asked at most once a second."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from time import monotonic

from flows.brokers.base import Member
from flows.errors import BrokerError

EVERY = 1.0
"""Seconds that what the group said counts as news."""


class Members:
    """The group's members; `look` asks the group. `me` is this worker's id."""

    def __init__(self, look: Callable[[], Awaitable[list[Member]]], me: str) -> None:
        self.me = me
        self._look = look
        self._known: list[Member] = []
        self._asked = float("-inf")
        self._lock = asyncio.Lock()

    async def now(self) -> list[Member]:
        """Return the live members. While the broker cannot tell, those it told of last."""
        async with self._lock:
            if monotonic() - self._asked >= EVERY:
                # The worker itself tells of its broker; a page that shows what was known is better than none.
                with suppress(BrokerError):
                    self._known = await self._look()
                self._asked = monotonic()
        return self._known

    async def holders(self, task_ids: Iterable[str]) -> dict[int, Member]:
        """Return who holds each of these tasks, by its place among them; those that nobody holds are left out."""
        held = {task: member for member in await self.now() for task in member.tasks}
        return {place: held[task] for place, task in enumerate(task_ids) if task in held}

    def forget(self) -> None:
        """Ask anew the next time: a member failed, or no longer holds what it held."""
        self._asked = float("-inf")
