"""Sending a task's outputs as they come, for the guarantee "at least once": nothing waits for the commit."""

from __future__ import annotations

import asyncio
import logging

from flows.brokers.base import Appender, Outgoing, TopicPartition
from flows.emit.outbox import Outbox
from flows.errors import BrokerUnavailable, OutcomeUnknown
from flows.run.environment import Environment

log = logging.getLogger("flows.commit")

_RETRY = (0.05, 2.0)


class Sender:
    """Empty a task's outbox into the broker: one batch at a time, in order; what comes meanwhile makes the next.

    A batch whose fate is unknown is sent again: doubled rather than lost.
    """

    def __init__(self, env: Environment, task_id: str, appender: Appender, outbox: Outbox) -> None:
        self._env, self._task_id, self._appender, self._outbox = env, task_id, appender, outbox
        self._sending: asyncio.Task[None] | None = None
        outbox.wake = self._wake

    async def drain(self) -> None:
        """Return once all that was added is durable. Raises what a batch met: `Fenced`, `RecordTooLarge`."""
        while self._sending is not None or len(self._outbox):
            if self._sending is None:
                self._wake()
            assert self._sending is not None
            await asyncio.wait([self._sending])
            sent, self._sending = self._sending, None
            sent.result()

    async def stop(self) -> None:
        """Send nothing more."""
        self._outbox.wake = None
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    def _wake(self) -> None:
        if self._sending is None or (self._sending.done() and self._sending.exception() is None):
            self._sending = asyncio.create_task(self._send_all(), name=f"send {self._task_id}")

    async def _send_all(self) -> None:
        while len(self._outbox):
            await self._send(self._outbox.take())

    async def _send(self, outputs: dict[TopicPartition, Outgoing]) -> None:
        attempt = 0
        while True:
            try:
                await self._appender.send(outputs)
                return
            except (BrokerUnavailable, OutcomeUnknown) as error:
                attempt += 1
                if attempt == 1:
                    log.warning("task %s cannot send, tries again: %s", self._task_id, error)
                self._env.metrics.trouble(f"task {self._task_id}: {error}")
                await asyncio.sleep(min(_RETRY[0] * 2**attempt, _RETRY[1]))
