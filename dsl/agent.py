"""Agents: coroutines over streams, which others may send to and ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any

from dsl.context import runtime
from dsl.durations import Duration, microseconds

if TYPE_CHECKING:
    from dsl.topic import Topic

TIMEOUT = "10s"
"""How long an answer is waited for where nothing else is said."""

AT_ONCE = 100
"""How many questions of one `map` or `join` are on their way at a time."""

Values = Iterable[Any] | AsyncIterable[Any]


class Agent:
    """A declared agent. `topic` is the one whose records it reads; what is sent to the agent goes there.

    An agent behind a `group_by` has none: nothing can be sent to it.
    """

    def __init__(self, name: str, function: Callable[..., Any], topic: Topic | None) -> None:
        self.name, self.function, self._topic = name, function, topic

    def __repr__(self) -> str:
        return f"<Agent {self.name}>"

    @property
    def topic(self) -> Topic:
        """The topic that the agent reads, perhaps filtered. Raises RuntimeError where it reads behind a group_by."""
        if self._topic is None:
            raise RuntimeError(f"agent {self.name!r} reads behind a group_by: send to the topic before that")
        return self._topic

    async def cast(
        self,
        value: Any,
        *,
        key: Any = None,
        timestamp: float | None = None,
        partition: int | None = None,
        headers: dict[str, bytes] | None = None,
    ) -> None:
        """Send the agent a value, as `topic.send` does: within an agent it leaves with the task's commit.

        >>> @app.agent(departures)
        ... async def watch(stream):
        ...     async for departure in stream:
        ...         pass
        >>> @app.timer("1m")
        ... async def one_more():
        ...     await watch.cast(Departure("UA", "JFK"))
        """
        await self.topic.send(value, key=key, timestamp=timestamp, partition=partition, headers=headers)

    async def send(
        self,
        value: Any,
        *,
        key: Any = None,
        timestamp: float | None = None,
        partition: int | None = None,
        headers: dict[str, bytes] | None = None,
        reply_to: Agent | Topic | None = None,
        correlation_id: str | None = None,
    ) -> None:
        """Send the agent a value, as `cast`; what it yields for that goes to `reply_to` too.

        Such a reply has the header `flows-correlation-id`, where one is given.
        """
        more = dict(headers or {})
        if reply_to is not None:
            more["flows-reply-to"] = (reply_to.topic if isinstance(reply_to, Agent) else reply_to).name.encode()
        if correlation_id is not None:
            more["flows-correlation-id"] = correlation_id.encode()
        await self.cast(value, key=key, timestamp=timestamp, partition=partition, headers=more or None)

    async def ask(
        self,
        value: Any,
        *,
        key: Any = None,
        timeout: Duration = TIMEOUT,
        returns: Any = Any,
        timestamp: float | None = None,
        partition: int | None = None,
        headers: dict[str, bytes] | None = None,
    ) -> Any:
        """Send the agent a value and return the first thing that it yields for it, once that is committed.

        An agent that yields nothing answers None when it is done with the record. `returns` is the type of the answer,
        such as a Record; without it the answer is what JSON says. The question leaves at once, also within an agent:
        when the record in hand is tried again, the question is asked again.

        Raises `TimeoutError` after `timeout`, and `AgentError` where the agent refused the value, or where the asking
        task would wait for itself.

        >>> @app.agent(app.topic("questions"))
        ... async def double(stream):
        ...     async for number in stream:
        ...         yield 2 * number["is"]
        >>> answers = app.topic("answers", value=Any)
        >>> @app.agent(departures, sink=[answers])
        ... async def reckon(stream):
        ...     async for departure in stream:
        ...         yield await double.ask({"is": departure.delay})
        >>> with app.test() as t:
        ...     t.send(departures, Departure("UA", "JFK", 90.0))
        ...     t.output(answers)[0].value
        180.0
        """
        seconds = microseconds(timeout, "timeout") / 1_000_000
        if seconds <= 0:
            raise ValueError(f"agent {self.name!r}: a timeout must be positive, not {timeout!r}")
        asking = runtime(f"agent {self.name!r}.ask").ask
        return await asking(self.name, self.topic, value, key, timestamp, partition, headers, seconds, returns)

    def map(
        self, values: Values, *, key: Any = None, timeout: Duration = TIMEOUT, returns: Any = Any
    ) -> AsyncIterator[Any]:
        """Ask for each value and iterate over the answers as they come, in any order.

        >>> @app.agent(app.topic("questions"))
        ... async def double(stream):
        ...     async for number in stream:
        ...         yield 2 * number["is"]
        >>> answers = app.topic("answers", value=Any)
        >>> @app.agent(departures)
        ... async def reckon(stream):
        ...     async for departure in stream:
        ...         async for answer in double.map({"is": n} for n in (1, 2)):
        ...             await answers.send(answer)
        >>> with app.test() as t:
        ...     t.send(departures, Departure("UA", "JFK"))
        ...     sorted(r.value for r in t.output(answers))
        [2, 4]
        """
        return self.kvmap(_with_key(key, values), timeout=timeout, returns=returns)

    async def kvmap(self, items: Values, *, timeout: Duration = TIMEOUT, returns: Any = Any) -> AsyncIterator[Any]:
        """Ask for each (key, value) and iterate over the answers as they come, in any order."""
        running: set[asyncio.Task[Any]] = set()
        try:
            async for key, value in _each(items):
                running.add(asyncio.create_task(self.ask(value, key=key, timeout=timeout, returns=returns)))
                while len(running) >= AT_ONCE:
                    done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        yield task.result()
            while running:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        finally:
            await _cancel(running)

    async def join(
        self, values: Values, *, key: Any = None, timeout: Duration = TIMEOUT, returns: Any = Any
    ) -> list[Any]:
        """Ask for each value and return the answers in the order of the values.

        >>> @app.agent(app.topic("questions"))
        ... async def double(stream):
        ...     async for number in stream:
        ...         yield 2 * number["is"]
        >>> answers = app.topic("answers", value=Any)
        >>> @app.agent(departures, sink=[answers])
        ... async def reckon(stream):
        ...     async for departure in stream:
        ...         yield await double.join([{"is": 1}, {"is": 2}])
        >>> with app.test() as t:
        ...     t.send(departures, Departure("UA", "JFK"))
        ...     t.output(answers)[0].value
        [2, 4]
        """
        return await self.kvjoin(_with_key(key, values), timeout=timeout, returns=returns)

    async def kvjoin(self, items: Values, *, timeout: Duration = TIMEOUT, returns: Any = Any) -> list[Any]:
        """Ask for each (key, value) and return the answers in the order of the items."""
        limit = asyncio.Semaphore(AT_ONCE)

        async def ask(key: Any, value: Any) -> Any:
            async with limit:
                return await self.ask(value, key=key, timeout=timeout, returns=returns)

        tasks = [asyncio.create_task(ask(key, value)) async for key, value in _each(items)]
        try:
            return await asyncio.gather(*tasks)
        finally:
            await _cancel(tasks)


async def _each(items: Values) -> AsyncIterator[Any]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def _with_key(key: Any, values: Values) -> AsyncIterator[tuple[Any, Any]]:
    async for value in _each(values):
        yield key, value


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
