"""The worker: a member of its app's group that runs the tasks it is given and serves their tables."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Coroutine
from time import perf_counter
from typing import Any
from uuid import uuid4

import dsl
from dsl.plan.explain import explain_json
from dsl.plan.fingerprint import plan_hash
from dsl.plan.nodes import SourceNode, TimerNode
from flows.brokers.base import Membership, TopicPartition
from flows.brokers.registry import open_broker
from flows.clock import Clock, SystemClock
from flows.compile.names import topic_specs
from flows.compile.tables import table_decoders
from flows.errors import BrokerUnavailable, Fenced, FlowsError, OutcomeUnknown, StateCorrupt, StateError
from flows.metrics import WorkerMetrics
from flows.query.live import ChangeHub
from flows.query.sql import Result, run_sql
from flows.run.drained import is_drained
from flows.run.environment import Environment
from flows.run.free_timers import FreeTimer, timer_task_id
from flows.run.live_tables import LiveTables
from flows.run.progress import Progress
from flows.run.source_task import SourceTask, source_task_id
from flows.run.status import StatusBoard
from flows.run.stores import Stores
from flows.run.task import Task
from flows.settings import Settings
from flows.web.server import WebServer

log = logging.getLogger("flows.worker")

_PURGE_EVERY = 1.0
_PAUSE = 0.5
_FULL = 2_000
_LINGER = 0.05


class Worker:
    """Run an app until stopped, or with `settings.drain` until its inputs are processed to their end."""

    def __init__(self, app: dsl.App, settings: Settings, clock: Clock | None = None) -> None:
        self.plan = app.plan()
        self.settings = settings
        self.clock = clock or SystemClock()
        self.id = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"
        self.metrics = WorkerMetrics()
        self.tasks: dict[str, Task] = {}
        self.sources: dict[str, SourceTask] = {}
        self.ready = False
        self.state = "starting"
        self.address = ""
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._ending: set[str] = set()
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None
        self._plan_written = False
        self._parts = {t: (part, p) for part in self.plan.subtopologies for p, t in enumerate(part.task_ids())}
        self._source_nodes = {source_task_id(n.id): n for n in self.plan.of_type(SourceNode)}
        self._timer_nodes = {timer_task_id(n.id): n for n in self.plan.of_type(TimerNode) if not n.tables}
        self._timers: dict[str, FreeTimer] = {}
        self._all_tasks: dict[str, list[TopicPartition]] = {
            **{t: [TopicPartition(topic, p) for topic in part.inputs] for t, (part, p) in self._parts.items()},
            **{t: [] for t in (*self._source_nodes, *self._timer_nodes)},
        }

    def stop(self) -> None:
        """Ask the worker to finish what is in flight, commit and leave."""
        self.state = "stopping"
        self._stopping.set()

    async def run(self) -> None:
        """Run the app.

        1. Make the data folder, connect to the broker, create or check the topics.
        2. Serve the page, so that it tells what goes on from the beginning.
        3. Join the group; take over and hand back tasks as it says, until asked to stop, drained or failed.
        4. Finish and commit every task, leave the group, close.

        Raises `FlowsError`.
        """
        # 1
        self._prepare_folder()
        broker = open_broker(self.settings.broker_url, clock=self.clock, lease=self.settings.lease)
        await broker.start()
        try:
            for spec in topic_specs(self.plan):
                await broker.create_topic(spec)
            await self._serve(self._environment(broker))
        finally:
            await broker.close()
        if self._failure is not None:
            raise self._failure

    async def _serve(self, env: Environment) -> None:
        board = StatusBoard(self.plan.app, self.id, self, env.broker, self.metrics)
        self.board = board
        tables = LiveTables(env.decoders, lambda: list(self.tasks.values()), self._hub)

        async def query(sql: str) -> Result:
            return await run_sql(sql, tables)

        web: WebServer | None = None
        helpers: list[asyncio.Task[None]] = []
        try:
            # 2
            if self.settings.web_port >= 0:
                web = WebServer(tables, board, query, self.settings.web_host, self.settings.web_port)
                self.address = await web.start()
                log.info("the live page is at %s", self.address)
            # 3
            membership = await env.broker.join(
                env.group, self.id, self._all_tasks, address=self.address, plan=plan_hash(self.plan)
            )
            helpers = [
                self._helper(board.measure()),
                self._helper(self._purge(env)),
                self._helper(self._follow(env, membership)),
            ]
            if self.settings.drain:
                helpers.append(self._helper(self._watch_drain(env)))
            await self._stopping.wait()
            # 4
            await _end(helpers)
            await self._let_go(env, membership, set(self._runs))
            await membership.leave()
            log.info("stopped: %d records processed", self.metrics.records)
        finally:
            self._progress.close()
            await _end([*helpers, *self._runs.values()])
            if web is not None:
                await web.stop()
            self._hub.close()

    def _helper(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._helper_ended)
        return task

    def _helper_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._fail(task.exception())

    def _fail(self, error: BaseException | None) -> None:
        self._failure = self._failure or error
        self.stop()

    # Tasks

    async def _follow(self, env: Environment, membership: Membership) -> None:
        """Take over and hand back tasks as the group says."""
        while True:
            try:
                wanted = await membership.assignment()
            except Fenced as error:
                log.warning("this worker lost its place in the group (%s): it joins again", error)
                await self._let_go(env, membership, set(self._runs), commit=False)
                membership = await env.broker.join(
                    env.group, self.id, self._all_tasks, address=self.address, plan=plan_hash(self.plan)
                )
                continue
            log.info("holds %d of %d tasks", len(wanted), len(self._all_tasks))
            await self._let_go(env, membership, set(self._runs) - wanted)
            for task_id in sorted(wanted - set(self._runs)):
                self._runs[task_id] = asyncio.create_task(self._run_task(env, membership, task_id), name=task_id)
            self.state = "running"

    async def _let_go(
        self, env: Environment, membership: Membership, task_ids: set[str], *, commit: bool = True
    ) -> None:
        """Finish, commit and release tasks."""
        self._ending |= task_ids
        for task_id in task_ids:
            if task_id in self.sources:
                self.sources[task_id].stop()
            if task_id in self._timers:
                self._timers[task_id].stop()
        if not commit:
            for task_id in task_ids:
                self._runs[task_id].cancel()
        await asyncio.gather(*(self._runs[t] for t in task_ids), return_exceptions=True)
        for task_id in task_ids:
            del self._runs[task_id]
        self._ending -= task_ids
        if task_ids and commit:
            await membership.release(task_ids)

    async def _run_task(self, env: Environment, membership: Membership, task_id: str) -> None:
        """Run a task until it is let go; what goes wrong at the broker is recovered from, the rest stops the worker.

        Before each start the group confirms that the task is still this worker's: a late start would fence its holder.
        """
        while task_id not in self._ending and await self._still_holds(membership, task_id):
            try:
                if task_id in self._source_nodes:
                    await self._run_source(env, self._source_nodes[task_id])
                elif task_id in self._timer_nodes:
                    timer = self._timers[task_id] = FreeTimer(env, self._timer_nodes[task_id])
                    await timer.run()
                else:
                    await self._run_partition(env, task_id)
                return
            except Fenced as error:
                log.warning("task %s was taken over by another worker: %s", task_id, error)
                await asyncio.sleep(_PAUSE)
            except (OutcomeUnknown, BrokerUnavailable) as error:
                log.warning("task %s starts again from what is committed: %s", task_id, error)
                self.metrics.trouble(f"task {task_id}: {error}")
                await asyncio.sleep(_PAUSE)
            except StateCorrupt as error:
                log.warning("task %s rebuilds its state from the changelogs: %s", task_id, error)
                self.metrics.trouble(f"task {task_id}: {error}")
                await asyncio.to_thread(self._stores.discard, task_id)
            except FlowsError as error:
                self._fail(error)
                return
            except Exception as error:
                log.exception("task %s failed", task_id)
                self._fail(error)
                return

    async def _still_holds(self, membership: Membership, task_id: str) -> bool:
        return any(m.id == self.id and task_id in m.tasks for m in await membership.members())

    async def _run_partition(self, env: Environment, task_id: str) -> None:
        part, partition = self._parts[task_id]
        task = self.tasks[task_id] = Task(env, part, partition)
        finished = False
        try:
            await task.start()
            self._progress.restored(task_id)
            self._write_plan()
            self.ready = all(t in self.tasks and self.tasks[t].ready for t in self._runs if t in self._parts)
            while task_id not in self._ending:
                begun = perf_counter()
                moved = await task.step(task.next_due())
                await task.tick()
                if moved and task.fetched < _FULL:
                    # The more a small batch cost, the longer the next may gather; an idle task takes a record at once.
                    await asyncio.sleep(min(2 * (perf_counter() - begun), _LINGER))
            finished = True
        finally:
            try:
                await (task.stop(commit=True) if finished else task.abandon())
            finally:
                self.tasks.pop(task_id, None)

    async def _run_source(self, env: Environment, node: SourceNode) -> None:
        source = SourceTask(env, node, self.settings.speed, self._progress.source)
        self.sources[source.id] = source
        await source.run()
        await source.stopped.wait()

    # What goes on beside

    async def _watch_drain(self, env: Environment) -> None:
        while not await is_drained(env):  # noqa: ASYNC110  (other workers take part; only the broker knows)
            await asyncio.sleep(_PAUSE / 5)
        log.info("drained: the inputs are processed to their end")
        self.stop()

    async def _purge(self, env: Environment) -> None:
        """Drop what is processed from the internal repartition topics."""
        while True:
            await asyncio.sleep(_PURGE_EVERY)
            inputs = [tp for task in list(self.tasks.values()) for tp in task.repartition_inputs()]
            if inputs:
                done = await env.broker.committed(env.group, inputs)
                await env.broker.purge({tp: c.offset for tp, c in done.items()})

    # What it stands on

    def _prepare_folder(self) -> None:
        data = self.settings.data
        try:
            data.mkdir(parents=True, exist_ok=True)
            if not os.access(data, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise StateError(
                f"data folder {data} cannot be used: {error.strerror}",
                fix="choose another with --data, or mend its rights",
            ) from error

    def _write_plan(self) -> None:
        """Leave the plan beside the data, for readers without the module: once a task found its state compatible."""
        path, draft = self.settings.data / "plan.json", self.settings.data / f".plan.json.{os.getpid()}"
        if self._plan_written:
            return
        try:
            draft.write_text(explain_json(self.plan), "utf-8")
            draft.replace(path)
        except OSError as error:
            self.metrics.trouble(f"{path} cannot be written: {error.strerror}")
            return
        self._plan_written = True

    def _environment(self, broker: Any) -> Environment:
        settings = self.settings
        self._hub = ChangeHub()
        self._progress = Progress(settings)
        self._stores = Stores(settings.state, settings.cache_bytes, settings.write_buffer_bytes)
        return Environment(
            plan=self.plan,
            broker=broker,
            clock=self.clock,
            metrics=self.metrics,
            hub=self._hub,
            decoders=table_decoders(self.plan),
            open_store=self._stores.open,
            progress=self._progress.restore,
            backoff=_back_off,
            commit_interval=settings.commit_interval,
            commit_rows=settings.commit_records,
            chunk=settings.chunk_records,
            fetch_records=settings.fetch_records,
            idle_after=settings.idle_after,
            max_ahead=settings.max_ahead,
        )


async def _back_off(attempt: int) -> None:
    """Wait longer after each failure of an agent, up to two seconds."""
    await asyncio.sleep(min(0.05 * 2**attempt, 2.0))


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
