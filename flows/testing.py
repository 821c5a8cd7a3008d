"""The test driver: the real pipeline on a broker in memory, a manual clock, no sleeps.

with app.test() as t:
    t.send(departures, {"carrier": "UA", "origin": "EWR", "delay": 5.0, "at": 0.0})
    assert t.table(delays).rows()[0]["flights"] == 1
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from dsl.agent import TIMEOUT, Agent
from dsl.context import current
from dsl.durations import Duration, microseconds
from dsl.global_table import GlobalTable
from dsl.joined import Joined
from dsl.plan.graph import late_topic_name
from dsl.plan.nodes import TaskNode
from dsl.stream import Stream
from dsl.table import AgentTable, Table
from dsl.topic import Topic
from flows.brokers.base import Outgoing, TopicPartition
from flows.brokers.memory import MemoryBroker
from flows.clock import ManualClock
from flows.compile.context import topic_encoders
from flows.compile.names import dead_letters, topic_specs
from flows.compile.tables import table_decoders
from flows.decode.codecs import Codecs
from flows.decode.registry import MemoryRegistry
from flows.errors import FlowsError
from flows.metrics import WorkerMetrics
from flows.run.asking import Asking
from flows.run.direct import DirectRuntime
from flows.run.environment import Environment, Probe, no_probe
from flows.run.free_timers import FreeTimer, free_timers
from flows.run.global_tables import GlobalTables
from flows.run.own_work import OwnWork, run_task
from flows.run.task import Task
from flows.settings import Guarantee
from flows.state.base import Store
from flows.state.memory import MemoryStore
from flows.testing_loop import ManualLoop
from flows.testing_records import DeadLetter, LateRecord, OutputRecord, TopicReader, event_value, with_taps
from flows.testing_tables import ChangeLog, TableReader
from flows.testing_work import Ticks, finish, no_pause, result, work_on

if TYPE_CHECKING:
    from dsl.app import App

AnyTable = Table | AgentTable | GlobalTable

_STRIDES = 1000
"""Steps of a long `advance`, between which only timers and sleeps are met at their moment."""


class Driver:
    """Drive an app by hand. Each `send` is a commit, unless inside `with t.batch():`."""

    def __init__(
        self,
        app: App,
        *,
        now: float | None = None,
        probe: Probe = no_probe,
        broker: MemoryBroker | None = None,
        stores: dict[str, MemoryStore] | None = None,
        guarantee: Guarantee = "exactly_once",
        schema_registry: MemoryRegistry | None = None,
    ) -> None:
        """Build a driver. `broker`, `stores` and `schema_registry` are an earlier driver's, to go on where it was."""
        self._plan, self._taps = with_taps(app.plan())
        self.clock = ManualClock(time.time() if now is None else now)
        self._broker = MemoryBroker() if broker is None else broker
        self._changes = ChangeLog()
        self._stores: dict[str, MemoryStore] = {} if stores is None else stores
        self._readers: dict[str, TopicReader] = {}
        self.schema_registry = MemoryRegistry() if schema_registry is None else schema_registry
        self._codecs = Codecs(self._plan, self.schema_registry, "all")
        self._encoders = topic_encoders(self._plan, self._codecs, self._broker.max_record_bytes, self._now_ms)
        self._loop = ManualLoop(self.clock)  # to be closed, so after what may raise
        self.metrics = WorkerMetrics()
        self._env = Environment(
            plan=self._plan,
            broker=self._broker,
            codecs=self._codecs,
            clock=self.clock,
            metrics=self.metrics,
            hub=self._changes,
            decoders=table_decoders(self._plan),
            open_store=self._open_store,
            progress=lambda *_: None,
            backoff=no_pause,
            commit_interval=0.05 if guarantee == "exactly_once" else 0.0,
            asking=Asking(self._plan, self._codecs, self._broker, self.clock),
            guarantee=guarantee,
            probe=probe,
        )
        self._tasks: list[Task] = []
        self._ticks = Ticks(self._loop)
        self._globals = GlobalTables(self._env)
        self._own = OwnWork(app, self._env)
        self._own_tasks: list[asyncio.Task[None]] = []
        self._works: dict[Task, asyncio.Task[bool]] = {}
        self._batching = False

    def __enter__(self) -> Driver:
        try:
            self._run(self._start(), "start")
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    # What a test does

    def send(
        self,
        topic: Topic | str,
        value: Any,
        key: Any = None,
        at: float | None = None,
        partition: int | None = None,
        headers: dict[str, bytes] | None = None,
    ) -> None:
        """Append one record and process it.

        `at` is its event time in seconds; it is also put into the topic's timestamp field, where one is declared.
        `value` may be a Record, a dict or bytes; None is a tombstone.
        """
        name = topic if isinstance(topic, str) else topic.name
        node = self._plan.topic(name)
        if node is None:
            raise FlowsError(f"the app declares no topic {name!r}")
        value, key = event_value(node, self._codecs.of(node), value, key, at)
        when = self.clock.now() if at is None else at
        _, where, key_bytes, data, ms, own = self._encoders.encode(name, value, key, when, partition, headers)
        out = Outgoing()
        out.append(key_bytes, data, ms, own)
        self._run(self._produce(TopicPartition(name, where), out), "send")
        if not self._batching:
            self._settle()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Process all that is sent inside as one batch with one commit."""
        self._batching = True
        try:
            yield
        finally:
            self._batching = False
        self._settle()

    def advance(self, duration: Duration) -> None:
        """Move the wall clock; timers, sleeps and silence take their course."""
        left = microseconds(duration, "advance") / 1_000_000
        stride = max(0.5, left / _STRIDES)
        self._settle()
        while left > 0:
            step = min([left, *(d for d in self._dues(stride) if d > 0)])
            self.clock.advance(step)
            left -= step
            self._settle(tick=True)

    def table(self, table: AnyTable | str) -> TableReader:
        """Read a table's committed rows."""
        name = table if isinstance(table, str) else table.name
        states = [t.state for t in self._tasks if t.state is not None]
        return TableReader(self._env.decoders[name], name, states, self._env.copies.get(name))

    def output(self, source: Topic | Stream | AnyTable | str) -> list[OutputRecord]:
        """Return the records that came since the last call; of a table its changes, a removal as value None."""
        if isinstance(source, AnyTable):
            return self._changes.take(source.name, self._env.decoders[source.name].info.keys)
        name = source if isinstance(source, str) else self._taps.get(source.step, source.step)
        return self._reader(name).take()

    def ask(self, agent: Agent, value: Any, key: Any = None, timeout: Duration = TIMEOUT, returns: Any = Any) -> Any:
        """Ask an agent and return its answer. Raises `AnswerTimeout` where it does not come in time."""
        context = contextvars.copy_context()
        context.run(current.set, DirectRuntime.of(self._env))
        asking = agent.ask(value, key=key, timeout=timeout, returns=returns)
        task = self._loop.create_task(asking, context=context)
        self._settle()
        if not task.done():
            self.advance(timeout)
        return self._run(result(task), f"ask {agent.name}")

    def late(self, table: Table | AgentTable | Joined | str) -> list[LateRecord]:
        """Return all records that were late for a table or a join, with the windows that were closed for them."""
        name = table if isinstance(table, str) else table.step if isinstance(table, Joined) else table.name
        return [LateRecord.of(r) for r in self._reader(late_topic_name(self._plan.app, name)).all()]

    def dead_letters(self) -> list[DeadLetter]:
        """Return all records that were refused, with the reason and the origin."""
        found = [DeadLetter.of(r) for r in self._reader(dead_letters(self._plan.app)).all()]
        taps = {f"{topic}.to" for topic in self._taps.values()}
        return [letter for letter in found if letter.step not in taps]

    def crash(self) -> None:
        """Lose all that is not committed, as a killed worker does, and recover."""
        if self._batching:
            for task in self._tasks:
                task.hold_commits = True
            self._work_through()
        self._run(self._abandon(), "crash")
        self._run(self._start_tasks(), "recovery")
        self._settle()

    def rebalance(self) -> None:
        """Move every task to a worker with an empty disk; one whose agent waits in a record goes uncommitted."""
        self._run(self._hand_back(), "rebalance")
        self._stores.clear()
        self._run(self._start_tasks(), "rebalance")
        moved = frozenset(task.id for task in self._tasks)
        self._run(self._own.rebalanced(moved, moved), "rebalance")
        self._settle()

    # How it is done

    def _close(self) -> None:
        try:
            self._run(self._stop(), "stop")
        finally:
            self._run(self._env.asking.close(), "stop")
            self._run(self._loop.shutdown_asyncgens(), "stop")
            self._loop.close()

    def _run(self, work: Any, what: str) -> Any:
        task = self._loop.run_to_end(work)
        if not task.done():
            task.cancel()
            self._loop.run_until_quiet()
            raise FlowsError(f"{what} waits for something that never comes")
        return task.result()

    def _settle(self, *, tick: bool = False) -> None:
        if self._batching:
            return
        self._loop.run_until_quiet()  # what waited for the clock goes first
        for task in [t for t in self._own_tasks if t.done()]:
            self._own_tasks.remove(task)
            task.result()
        if tick:
            self._ticks.begin()
        self._work_through()

    def _work_through(self) -> None:
        while self._pass():
            pass

    def _pass(self) -> bool:
        """Let every task work, each by itself as in a worker, until it waits; tell whether anything moved."""
        self._run(self._globals.catch_up(), "global tables")
        for task in self._tasks:
            if task not in self._works:
                self._works[task] = self._loop.create_task(work_on(task))
        news = self._broker.news
        self._loop.run_until_quiet()
        self._ticks.look()
        # One that is not done may have written for others that were.
        moved = self._broker.news is not news
        for task, work in list(self._works.items()):
            if work.done():
                del self._works[task]
                moved = work.result() or moved
        return moved

    def _dues(self, at_most: float) -> list[float]:
        next_timer = self._loop.next_timer()
        dues = [t.next_due(at_most) for t in self._tasks]
        dues += self._ticks.dues()
        return dues if next_timer is None else [*dues, next_timer]

    async def _start(self) -> None:
        for spec in topic_specs(self._plan):
            await self._broker.create_topic(spec)
        await self._codecs.open()
        await self._own.started()
        self._ticks.timers = [*self._own.timers, *(FreeTimer(self._env, node) for node in free_timers(self._plan))]
        await self._start_tasks()
        await self._own.ready()
        nodes = self._plan.of_type(TaskNode)
        self._own_tasks = [asyncio.create_task(run_task(self._env, node)) for node in nodes]

    async def _start_tasks(self) -> None:
        await self._globals.start()
        self._tasks = [Task(self._env, part, p) for part in self._plan.subtopologies for p in range(part.partitions)]
        for task in self._tasks:
            await task.start()

    async def _stop(self) -> None:
        own = [*self._own_tasks, *self._ticks.under_way]
        for task in own:
            task.cancel()
        await asyncio.gather(*own, return_exceptions=True)
        await self._abandon()
        await self._own.stopped()

    async def _abandon(self) -> None:
        await self._end_works()
        for task in self._tasks:
            await task.abandon()
        await self._globals.close()

    async def _hand_back(self) -> None:
        unfinished = set(self._works)
        await self._end_works()
        for task in self._tasks:
            await (task.abandon() if task in unfinished else finish(task))
        await self._globals.close()

    async def _end_works(self) -> None:
        works, self._works = list(self._works.values()), {}
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)

    async def _produce(self, tp: TopicPartition, out: Outgoing) -> None:
        await self._broker.produce({tp: out})

    def _open_store(self, task_id: str) -> Store:
        return self._stores.setdefault(task_id, MemoryStore(self.clock))

    def _reader(self, name: str) -> TopicReader:
        if name not in self._readers:
            node = self._plan.topic(name)
            codec = self._codecs.of(node) if node is not None else None
            self._readers[name] = TopicReader(self._broker, name, node, codec)
        return self._readers[name]

    def _now_ms(self) -> int:
        return int(self.clock.now() * 1000)


Factory = Callable[..., Driver]
