"""Try again, but not for ever: what one request to a cluster may take while its brokers come, go and elect leaders."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from flows.brokers.kafka.faults import Code, Lost, Refused, fault

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds; longer than the election of a new leader after a clean stop takes."""

_UNKNOWN_PATIENCE = 1.0  # a topic that was just made is not known to all brokers yet
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.5


class Tries:
    """The pauses between tries of one thing, and when to give up.

    `await tries.again(error)` pauses, or raises what a person reads (`fault`) when trying again is of no use.
    """

    def __init__(self, doing: str, seconds: float = PATIENCE) -> None:
        self._doing = doing
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._deadline = self._began + seconds
        self._pause = _FIRST_PAUSE

    async def again(self, error: Lost | Refused) -> None:
        """Pause before the next try; raises the error as `BrokerError` when it is final or time is up."""
        if not self.left(error):
            raise fault(error, self._doing) from error
        await asyncio.sleep(self._pause)
        # The end of a transaction takes the coordinator milliseconds: not to wait long for it keeps commits short.
        ending = isinstance(error, Refused) and error.code == Code.CONCURRENT_TRANSACTIONS
        self._pause = min(self._pause * (1.1 if ending else 2), _LONGEST_PAUSE)

    def left(self, error: Lost | Refused) -> bool:
        """Tell whether another try may help and is in time."""
        now = self._loop.time()
        if isinstance(error, Refused):
            if not error.retriable:
                return False
            if error.code == Code.UNKNOWN_TOPIC_OR_PARTITION and now - self._began > _UNKNOWN_PATIENCE:
                return False
        return now + self._pause < self._deadline


async def persist(doing: str, work: Callable[[], Awaitable[T]], seconds: float = PATIENCE) -> T:
    """Do something until it succeeds, fails for good, or `seconds` are over; raises `BrokerError`."""
    tries = Tries(doing, seconds)
    while True:
        try:
            return await work()
        except (Lost, Refused) as error:
            await tries.again(error)
