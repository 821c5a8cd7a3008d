"""Turns: one chunk of work in each round of the event loop, whatever the number of tasks."""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """Let the tasks of a worker take turns.

    A round of asyncio's event loop runs all that is ready before it looks at sockets and timers again. Without turns,
    eight busy tasks would each work for their ten to twenty milliseconds in one round, and the page and the broker's
    connections would wait for the sum.
    """

    def __init__(self) -> None:
        self._taken = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        """Wait for this task's turn; it lasts until the task gives way to the event loop.

        In a loop that has no other work this costs one round; first come, first served.
        """
        loop = asyncio.get_running_loop()
        if self._taken:
            turn = loop.create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._pass_on()
                raise
        self._taken = True
        loop.call_soon(self._pass_on)

    def _pass_on(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._taken = False
