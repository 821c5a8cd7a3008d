"""The engine around code outside of tasks: timers without tables, an app's tasks, hooks, pages and commands."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any

from dsl.context import TableAccess, current
from dsl.plan.graph import Plan
from flows.brokers.base import Broker, Outgoing, TopicPartition
from flows.clock import Clock
from flows.compile.context import topic_encoders
from flows.compile.global_tables import Copies
from flows.decode.codecs import Codecs
from flows.run.asking import Asking
from flows.run.environment import Environment


class DirectRuntime:
    """No tables but the global ones, no record in hand; what is sent is durable on return."""

    def __init__(
        self,
        plan: Plan,
        codecs: Codecs,
        broker: Broker,
        clock: Clock,
        asking: Asking,
        copies: Copies | None = None,
    ) -> None:
        self._copies: Copies = {} if copies is None else copies
        self.now = clock.now
        self.ask = asking.ask
        self._codecs, self._broker = codecs, broker
        self._encoders = topic_encoders(plan, codecs, broker.max_record_bytes, lambda: int(clock.now() * 1000))

    @classmethod
    def of(cls, env: Environment) -> DirectRuntime:
        """Return that of a worker."""
        return cls(env.plan, env.codecs, env.broker, env.clock, env.asking, env.copies)

    @property
    def tables(self) -> dict[str, TableAccess]:
        """The global tables, as far as they are here by now."""
        return dict(self._copies)

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
        await self._codecs.ready(topic.name)
        name, where, key_bytes, data, ms, own = self._encoders.encode(
            topic.name, value, key, timestamp, partition, headers
        )
        out = Outgoing()
        out.append(key_bytes, data, ms, own)
        await self._broker.produce({TopicPartition(name, where): out})


async def as_runtime(runtime: DirectRuntime, call: Callable[[], Awaitable[Any]]) -> Any:
    """Run a coroutine of the person's as one that may send and ask."""

    async def run() -> Any:
        return await call()

    context = contextvars.copy_context()
    context.run(current.set, runtime)
    return await asyncio.create_task(run(), context=context)
