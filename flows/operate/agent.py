"""Running agents: one coroutine per agent and task, fed in chunks, retried from a savepoint when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol
from zlib import crc32

import msgspec

from dsl.context import TableAccess, current
from flows.brokers.base import Headers
from flows.errors import AgentError, BrokerError, RecordTooLarge, StateError
from flows.operate.agent_input import AgentInput, Event, as_records
from flows.operate.agent_stream import AgentStream
from flows.operate.base import Batch, DeadLetters
from flows.operate.dict_table import DictTableState
from flows.operate.dict_view import Late, Savepoint
from flows.operate.replies import Answers, Replies, asked_by

Output = tuple[str, int, bytes | None, bytes | None, int, Headers]


class OutputEncoder(Protocol):
    """Turns a value for a topic into a record; raises for what the topic cannot carry."""

    def encode(
        self,
        topic: str,
        value: Any,
        key: Any,
        timestamp: float | None,
        partition: int | None,
        headers: dict[str, bytes] | None,
    ) -> Output: ...


class AgentSpec(msgspec.Struct, kw_only=True):
    """What the compiler knows of an agent."""

    step: str
    function: Callable[..., Any]
    sinks: tuple[str, ...]
    routers: tuple[Callable[[Any], str], ...]
    concurrency: int
    on_error: str
    retries: int
    key_field: str | tuple[str, ...] | None
    columns: dict[str, Any] | None
    value_type: Any
    decode: Callable[[bytes], Any] | None
    tables: dict[str, DictTableState]
    encoder: OutputEncoder
    emit: Callable[[Output], None]
    dead: DeadLetters
    backoff: Callable[[int], Awaitable[None]]
    now: Callable[[], float]
    late: Callable[[Late, list[Event]], None]
    replies: Replies
    ask: Callable[..., Awaitable[Any]]
    part: str
    copies: Mapping[str, TableAccess] = {}
    regrouped: bool = False
    groups: tuple[str, ...] = ()


class AgentInstance:
    """One coroutine of an agent, its input and its savepoint. It is the runtime that the agent's code sees."""

    def __init__(self, spec: AgentSpec) -> None:
        self._spec, self.name, self.columns, self.groups = spec, spec.step, spec.columns, spec.groups
        self.input = AgentInput(spec.key_field)
        self.savepoint = Savepoint(spec.tables)
        self.tables: dict[str, TableAccess] = {**spec.copies, **self.savepoint.tables}
        self.outputs: list[Output] = []
        self._answers = Answers(spec.replies, self.input)
        self.failures = 0
        self._more: asyncio.Future[bool] | None = None
        self._resting: asyncio.Future[None] | None = None
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    # The task's side.

    def start(self) -> None:
        """Start the coroutine; it rests as soon as it asks for its first record."""
        context = contextvars.copy_context()
        context.run(current.set, self)
        self._resting = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(), name=f"agent {self.name}", context=context)
        self._task.add_done_callback(self._ended)

    def give(self, values: Sequence[Any], rows: Sequence[int], batch: Batch) -> None:
        """Hand over a chunk; `rest` returns when it is finished."""
        self.input.give(values, rows, batch)
        self._wake(True)

    @property
    def busy(self) -> bool:
        """Tell whether the agent has yet to ask for its next record."""
        return self._resting is not None and not self._resting.done()

    async def rest(self) -> None:
        """Wait until the agent has asked for its next record; raises what ended it."""
        if self._resting is not None:
            await asyncio.shield(self._resting)

    async def stop(self) -> None:
        """End the coroutine where it stands."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            if self._resting is not None and not self._resting.done():
                self._resting.cancel()

    def _wake(self, has_data: bool) -> None:
        if self._more is not None and not self._more.done():
            self._resting = asyncio.get_running_loop().create_future()
            self._more.set_result(has_data)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._resting is None or self._resting.done():
            self._resting = task.get_loop().create_future()
        if task.cancelled():
            self._resting.cancel()
        else:
            self._resting.set_exception(task.exception() or AgentError(f"agent {self.name!r} ended"))
            self._resting.exception()  # whoever rests next sees it; nobody need

    # The agent's side.

    async def more(self, deadline: float | None = None) -> bool:
        """Rest until there are records (True) or the loop's clock reaches `deadline` (False)."""
        self.finish()  # what was done before the first record, say, must not be taken back after a commit
        loop = asyncio.get_running_loop()
        self._more = loop.create_future()
        if self._resting is not None and not self._resting.done():
            self._resting.set_result(None)
        timer = None if deadline is None else loop.call_at(deadline, self._wake, False)
        try:
            return await self._more
        finally:
            self._more = None
            if timer is not None:
                timer.cancel()

    def finish(self) -> None:
        """Keep what the agent did with the record in hand."""
        self.savepoint.keep()
        if self.savepoint.late:
            self._spec.late(self.savepoint.late, self.input.held())
            self.savepoint.late.clear()
        for output in (*self.outputs, *self._answers.finish()):
            self._spec.emit(output)
        self.outputs.clear()
        self.failures = 0

    def now(self) -> float:
        """Return the wall clock's time, in seconds since the epoch."""
        return self._spec.now()

    def in_hand(self) -> tuple[float | None, Any]:
        """Return the largest event time in hand, and the last value."""
        return self.input.time_in_hand(), self.input.value_in_hand()

    async def ask(self, agent: str, topic: Any, value: Any, key: Any, timestamp: float | None, *rest: Any) -> Any:
        """Ask another agent, outside of the task's transaction. Raises `AgentError` where it would wait for itself."""
        timestamp = self.input.time_in_hand() if timestamp is None else timestamp
        waits = (*asked_by(self.input.held()), self._spec.part)
        return await self._spec.ask(agent, topic, value, key, timestamp, *rest, waits=waits)

    async def send(
        self,
        topic: Any,
        value: Any,
        key: Any,
        timestamp: float | None,
        partition: int | None,
        headers: dict[str, bytes] | None,
    ) -> None:
        """Write to a topic with the task's next commit; without a timestamp, with that of the record in hand."""
        timestamp = self.input.time_in_hand() if timestamp is None else timestamp
        self.outputs.append(
            self._spec.encoder.encode(topic.name, value, key, timestamp, partition, self._traced(headers))
        )

    def _traced(self, headers: dict[str, bytes] | None) -> dict[str, bytes] | None:
        """Add the trace of the record in hand to the headers of what it causes; the agent's own goes before."""
        trace = self.input.trace_in_hand()
        return headers if not trace else {**dict(trace), **(headers or {})}

    async def _run(self) -> None:
        while True:
            before = self.input.progress()
            try:
                await self._invoke()
                self.finish()
            except Exception as error:  # noqa: BLE001  (the person's function may raise anything)
                await self._failed(error)
                continue
            except asyncio.CancelledError as error:
                # Of something that the function waited for; taken for our own end, the task would stop unnoticed.
                if self._stopping:
                    raise
                await self._failed(error)
                continue
            self.input.finish()
            if before == self.input.progress():
                raise AgentError(
                    f"agent {self.name!r} returned without reading a record",
                    fix="iterate over its stream: async for value in stream",
                )

    async def _invoke(self) -> None:
        running = self._spec.function(AgentStream(self))
        if not hasattr(running, "__aiter__"):
            await running
            return
        # Closed at once when a value cannot be sent: what the function does on its way out is taken back too.
        async with contextlib.aclosing(running):
            async for value in running:
                time = self.input.time_in_hand()
                for topic in (*self._spec.sinks, *(choose(value) for choose in self._spec.routers)):
                    self.outputs.append(self._spec.encoder.encode(topic, value, None, time, None, self._traced(None)))
                self.outputs.extend(self._answers.of(value))

    async def _failed(self, error: BaseException) -> None:
        """Take back what the record did; retry it after a pause, or give it up."""
        self.savepoint.roll_back()
        self.outputs.clear()
        self._answers.forget()
        held, taken = self.input.held(), self.input.in_hand > 0
        self.input.take_back()
        if isinstance(error, StateError | BrokerError) and not isinstance(error, RecordTooLarge):
            raise error  # not the agent's: the task recovers
        self.failures += 1
        if self.failures <= self._spec.retries:
            await self._spec.backoff(self.failures)
            return
        if not held:
            raise AgentError(f"agent {self.name!r} fails: {type(error).__name__}: {error}") from error
        reason = f"{type(error).__name__}: {error} ({self.failures} attempts)"
        for event in held:
            records = as_records(event, as_json=self._spec.regrouped)
            self._spec.dead.refuse(self.name, records, 0, reason, on_error=self._spec.on_error)
        for output in self._answers.refuse(held, reason):
            self._spec.emit(output)
        self.input.drop_failed(len(held), taken)
        self.failures = 0


class AgentRunner:
    """An agent in a task: its instances share the records by key."""

    def __init__(self, spec: AgentSpec) -> None:
        self.spec = spec
        self.instances = [AgentInstance(spec) for _ in range(spec.concurrency)]

    async def start(self) -> None:
        """Start the coroutines and wait until each asks for a record."""
        for instance in self.instances:
            instance.start()
        await self.rest()

    async def run(self, values: Sequence[Any], rows: Sequence[int], batch: Batch) -> None:
        """Let the agent work through a chunk."""
        await self.rest()
        if len(self.instances) == 1:
            self.instances[0].give(values, rows, batch)
        else:
            self._share(values, rows, batch)
        await self.rest()

    @property
    def busy(self) -> bool:
        """Tell whether an instance has a record in hand."""
        return any(i.busy for i in self.instances)

    async def rest(self) -> None:
        """Wait until every instance has asked for its next record."""
        for instance in self.instances:
            await instance.rest()
        while self.busy:  # one whose `take` ran out of patience while another was awaited
            for instance in self.instances:
                await instance.rest()

    async def stop(self) -> None:
        await asyncio.gather(*(i.stop() for i in self.instances))

    def _share(self, values: Sequence[Any], rows: Sequence[int], batch: Batch) -> None:
        count = len(self.instances)
        shares: list[list[int]] = [[] for _ in range(count)]
        keys = batch.records.keys
        for i, row in enumerate(rows):
            shares[crc32(keys[row] or b"") % count].append(i)
        for instance, share in zip(self.instances, shares, strict=True):
            if share:
                instance.give([values[i] for i in share], [rows[i] for i in share], batch)

    def taken(self) -> list[Event]:
        """Return what undelivered `take`s hold."""
        return [event for i in self.instances for event in i.input.taken]

    def restore_taken(self, events: list[Event]) -> None:
        """Put back what `take`s held when the task was last committed; before `start`."""
        for event in events:
            share = crc32(event.raw[0] or b"") % len(self.instances) if len(self.instances) > 1 else 0
            self.instances[share].input.taken.append(event)
