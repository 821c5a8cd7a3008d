"""From what clients wait for to writes of the broker: many requests share one, each is there whole or not at all."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from typing import Any

from flows.brokers.base import Broker, Outgoing, TopicPartition
from flows.errors import BrokerError, RecordTooLarge, UnknownTopic
from flows.web.gateway.base import Events
from flows.web.gateway.book import Claim, Look
from flows.web.gateway.metrics import GatewayMetrics

log = logging.getLogger("flows.gateway")

_MOST_BYTES, _MOST_REQUESTS = 4 << 20, 5_000
_FINISH = 5.0


class Session:
    """The messages of one socket that are on the way. Once it is `broken` none of them is written any more."""

    __slots__ = ("broken",)

    def __init__(self) -> None:
        self.broken = False


class Broken(Exception):
    """A message of a session that was broken before it."""


class Waiting:
    """The events of a request or message; `done` is told whether they had been there before, or what went wrong.

    Of a `Look` it is told the client's last sequence.
    """

    __slots__ = ("claim", "done", "events", "session")

    def __init__(self, events: Events, claim: Claim | Look | None, session: Session | None) -> None:
        self.events, self.claim, self.session = events, claim, session
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def settle(self, result: Any) -> None:
        """Answer, where somebody still waits."""
        if not self.done.done():
            self.done.set_result(result)

    def fail(self, error: Exception) -> None:
        """Tell what went wrong. What follows in its session is not written: it would be there, and this would not."""
        if self.session is not None:
            self.session.broken = True
        if not self.done.done():
            self.done.set_exception(error)


class Writer:
    """Write what waits, in order, as much as has come at once; a subclass says how."""

    def __init__(self, linger: float) -> None:
        self._linger = linger
        self._queue: deque[Waiting] = deque()
        self._working: asyncio.Task[None] | None = None

    def add(self, waiting: Waiting) -> None:
        """Let it be written soon."""
        self._queue.append(waiting)
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Finish what is queued, or give up after some seconds: nobody has been told that it is there."""
        if self._working is not None:
            _, late = await asyncio.wait([self._working], timeout=_FINISH)
            for task in late:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _work(self) -> None:
        while self._queue:
            await asyncio.sleep(self._linger)
            taken = self._take()
            try:
                await self._write(taken)
            except Exception as error:  # those who wait are told, whatever it is
                log.exception("the gateway cannot write")
                fail(taken, error)

    async def _write(self, taken: list[Waiting]) -> None:
        raise NotImplementedError

    def _take(self) -> list[Waiting]:
        taken: list[Waiting] = []
        size = 0
        while self._queue and size < _MOST_BYTES and len(taken) < _MOST_REQUESTS:
            waiting = self._queue.popleft()
            if waiting.done.done():  # nobody waits any more: its client went away
                continue
            if waiting.session is not None and waiting.session.broken:
                waiting.fail(Broken())
                continue
            taken.append(waiting)
            size += waiting.events.size
        return taken


class PlainWriter(Writer):
    """Write what has no key: once, if all goes well."""

    def __init__(self, broker: Broker, metrics: GatewayMetrics, linger: float) -> None:
        super().__init__(linger)
        self._broker, self._metrics = broker, metrics

    async def _write(self, taken: list[Waiting]) -> None:
        if not taken:
            return
        try:
            await self._broker.produce(merged(taken))
        except (RecordTooLarge, UnknownTopic) as error:
            if len(taken) == 1:
                taken[0].fail(error)
                return
            for waiting in taken:  # one's fault is not the others'
                await self._write([waiting])
        except BrokerError as error:
            fail(taken, error)
        else:
            self._metrics.writes += 1
            for waiting in taken:
                waiting.settle(False)


def merged(taken: Iterable[Waiting]) -> dict[TopicPartition, Outgoing]:
    """Return the records of all, in order."""
    found: dict[TopicPartition, Outgoing] = {}
    for waiting in taken:
        for tp, out in waiting.events.outputs.items():
            found.setdefault(tp, Outgoing()).extend(out)
    return found


def fail(taken: Iterable[Waiting], error: Exception) -> None:
    """Tell all what went wrong."""
    for waiting in taken:
        waiting.fail(error)
