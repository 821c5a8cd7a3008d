"""The stream as an agent iterates over it. A record counts as done when the agent asks for the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import perf_counter
from typing import TYPE_CHECKING, Any

import polars as pl

from dsl.durations import Duration, microseconds
from flows.errors import AgentError
from flows.operate.agent_input import Event

if TYPE_CHECKING:
    from flows.operate.agent import AgentInstance

SLICE = 0.01
"""Seconds an agent may run on before the event loop gets its turn."""


class AgentStream:
    """What an agent function is called with."""

    def __init__(self, instance: AgentInstance) -> None:
        self._instance = instance

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._values()

    async def _values(self) -> AsyncIterator[Any]:
        instance = self._instance
        given = instance.input
        savepoint, outputs = instance.savepoint, instance.outputs
        undo, touched, late = savepoint.undo, savepoint.touched, savepoint.late
        while True:
            if given.pos >= given.end:
                await instance.more()
            until = perf_counter() + SLICE
            values = given.values
            asked = given.has_headers
            for i in range(given.pos, given.end):
                given.pos = i + 1
                yield values[i]
                if touched or outputs or late or asked or instance.failures:
                    instance.finish()
                elif undo:
                    undo.clear()
                given.done = i + 1
                if not i & 63 and perf_counter() > until:
                    await asyncio.sleep(0)
                    until = perf_counter() + SLICE

    def group_by(self, *columns: Any, name: str | None = None, partitions: int | None = None) -> AgentStream:
        """Iterate over records of which those of one group are in one task.

        They came that way already: the plan has read these columns in the agent's source (`dsl.groups_inside`). Raises
        `AgentError` where it could not.
        """
        if self._instance.groups and self._instance.groups == tuple(getattr(c, "__name__", c) for c in columns):
            return self
        shown = ", ".join(repr(getattr(c, "__name__", c)) for c in columns)
        raise AgentError(
            f"agent {self._instance.name!r}: stream.group_by({shown}) was not seen when it was declared",
            fix=f"declare it: @app.agent(topic.group_by({shown}))",
        )

    async def events(self) -> AsyncIterator[Event]:
        """Iterate over records with key, timestamp, headers and origin."""
        given = self._instance.input
        async for _ in self._values():
            yield given.event(given.pos - 1)

    async def items(self) -> AsyncIterator[tuple[Any, Any]]:
        """Iterate over (key, value)."""
        async for event in self.events():
            yield event.key, event.value

    async def take(self, n: int, within: Duration | None = None) -> AsyncIterator[list[Any]]:
        """Iterate over lists of up to `n` values; a shorter one comes once its first value waited `within`.

        What waits is kept with the task's state: a crash or a rebalance neither loses nor repeats it.
        """
        if n < 1:
            raise AgentError(f"agent {self._instance.name!r}: take({n}) needs a positive count")
        patience = None if within is None else microseconds(within, "take(within=…)") / 1_000_000
        instance, given = self._instance, self._instance.input
        while True:
            count = given.redeliver or await self._gather(n, patience)
            given.in_hand = count
            yield [event.value for event in given.taken[:count]]
            instance.finish()
            given.finish()

    async def _gather(self, n: int, patience: float | None) -> int:
        instance, given = self._instance, self._instance.input
        loop = asyncio.get_running_loop()
        deadline: float | None = None
        while True:
            given.pull(n - len(given.taken))
            if len(given.taken) >= n:
                return n
            if given.taken and patience is not None and deadline is None:
                deadline = loop.time() + patience
            if not await instance.more(deadline):
                return len(given.taken)

    async def batches(self) -> AsyncIterator[list[Any]]:
        """Iterate over lists of all values that are there."""
        instance, given = self._instance, self._instance.input
        while True:
            if given.pos >= given.end:
                await instance.more()
            start, given.pos = given.pos, given.end
            yield list(given.values[start:])
            instance.finish()
            given.finish()

    async def frames(self) -> AsyncIterator[pl.DataFrame]:
        """Iterate over all values that are there, as polars DataFrames with the Record's columns."""
        columns = self._instance.columns
        if columns is None:
            raise AgentError(
                f"agent {self._instance.name!r}: frames() needs columns", fix="declare the topic with value=YourRecord"
            )
        async for values in self.batches():
            yield pl.DataFrame([pl.Series(n, [getattr(v, n) for v in values], dtype=t) for n, t in columns.items()])
