"""The worker: a member of its app's group that runs the tasks it is given and serves their tables."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any
from uuid import uuid4

import dsl
from dsl.plan.explain import explain_json
from dsl.plan.fingerprint import plan_hash
from flows.brokers.registry import open_broker
from flows.clock import Clock, SystemClock
from flows.compile.names import topic_specs
from flows.compile.tables import table_decoders
from flows.decode.codecs import Codecs
from flows.decode.opened import open_codecs
from flows.errors import BrokerUnavailable, StateError
from flows.metrics import WorkerMetrics
from flows.query.live import ChangeHub
from flows.query.sql import Result, run_sql
from flows.run.app_topics import AppTopics
from flows.run.asking import Asking
from flows.run.cluster import Cluster
from flows.run.direct import DirectRuntime, as_runtime
from flows.run.drained import is_drained
from flows.run.environment import Environment, Probe, no_probe
from flows.run.gateway import make_gateway
from flows.run.global_tables import GlobalTables
from flows.run.handover import Handover
from flows.run.live_tables import LiveTables
from flows.run.own_work import OwnWork
from flows.run.progress import Progress
from flows.run.runner import TaskRunner
from flows.run.standby import Standbys
from flows.run.status import StatusBoard
from flows.run.stores import Stores
from flows.run.task import Task
from flows.settings import Settings
from flows.tracing import Tracer, open_tracer
from flows.web.own_pages import own_routes
from flows.web.server import WebServer

log = logging.getLogger("flows.worker")

_PURGE_EVERY = 1.0
_LOOK = 0.1


class Worker:
    """Run an app until stopped, or with `settings.drain` until its inputs are processed to their end."""

    def __init__(
        self,
        app: dsl.App,
        settings: Settings,
        clock: Clock | None = None,
        *,
        probe: Probe = no_probe,
        tracer: Tracer | None = None,
    ) -> None:
        self._app, self.plan = app, app.plan()
        self.settings = settings
        self.clock = clock or SystemClock()
        self.id = settings.instance_id or f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"
        self.metrics = WorkerMetrics()
        self._tracer = open_tracer(self.plan.app) if settings.tracing else tracer
        self.address = ""
        self._probe = probe
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None
        self._plan_written = False
        self._runner: TaskRunner | None = None
        self._handover: Handover | None = None

    @property
    def tasks(self) -> dict[str, Task]:
        """The tasks that run here, by id."""
        return {} if self._runner is None else self._runner.tasks

    @property
    def ready(self) -> bool:
        """Whether all tasks that the group gave are running."""
        return self._handover is not None and self._handover.settled and not self._stopping.is_set()

    @property
    def state(self) -> str:
        """One of "starting", "running", "stopping"."""
        if self._stopping.is_set():
            return "stopping"
        return "starting" if self._handover is None else self._handover.state

    def stop(self) -> None:
        """Ask the worker to finish what is in flight, commit and leave."""
        self._stopping.set()

    async def run(self) -> None:
        """Run the app.

        1. Make the data folder, connect to the broker, create or check the topics, register their schemas.
        2. Serve the page, so that it tells what goes on from the beginning; read the global tables.
        3. Join the group; run the tasks that it gives (`Handover`), until asked to stop, drained or failed.
        4. Finish and commit every task, leave the group, close.

        Raises `FlowsError`.
        """
        # 1
        self._prepare_folder()
        broker = open_broker(self.settings.broker_url, clock=self.clock, **self.settings.read_broker_options())
        codecs = open_codecs(self.plan, **self.settings.read_schema_registry_options())
        await broker.start()
        try:
            for spec in topic_specs(self.plan):
                await broker.create_topic(spec)
            await codecs.open()
            await self._serve(self._environment(broker, codecs))
        finally:
            await codecs.close()
            await broker.close()
            if self._tracer is not None:
                await asyncio.to_thread(self._tracer.close)
        if self._failure is not None:
            raise self._failure

    async def _serve(self, env: Environment) -> None:
        board = StatusBoard(self.plan.app, self.id, self, env.broker, self.metrics, self._stores.caches)
        self.board = board
        token = self.settings.read_web_token()
        local = LiveTables(self.id, env.decoders, lambda: list(self.tasks.values()), self._hub, env.copies)
        cluster = Cluster(env, self.id, local, board, token)

        async def query(sql: str) -> Result:
            return await run_sql(sql, cluster.tables)

        self._runner = TaskRunner(
            env,
            self._progress,
            self.settings.speed,
            discard=self._stores.discard,
            compatible=self._write_plan,
        )
        copies = Standbys(
            env, self.settings.standby_replicas, stored=self._stores.positions, discard=self._stores.discard
        )
        own, whole = OwnWork(self._app, env), GlobalTables(env)
        moves: asyncio.Queue[tuple[frozenset[str], frozenset[str]]] = asyncio.Queue()
        handover = self._handover = Handover(
            env, self.id, self._runner, copies, self._fail, lambda *moved: moves.put_nowait(moved)
        )
        web: WebServer | None = None
        helpers: list[asyncio.Task[None]] = []
        try:
            # 2
            if self.settings.web_port >= 0:
                host, port = self.settings.web_host, self.settings.web_port
                known_as = self.settings.web_advertised_host
                web = WebServer(
                    cluster.tables,
                    board,
                    query,
                    host,
                    port,
                    token=token,
                    group=cluster,
                    advertised=known_as,
                    metrics=self.metrics,
                    own=own_routes(self._app._pages, partial(as_runtime, DirectRuntime.of(env))),
                    plan=self.plan,
                    topics=AppTopics(self.plan, env.broker, env.codecs, self.clock),
                    gateway=make_gateway(self.plan, env.broker, env.codecs, self.clock, self.settings, self._tracer),
                )
                self.address = await web.start()
                log.info("the live page is at %s", self.address)
            await own.started()
            await whole.start()
            # 3
            await handover.join(self.address, plan_hash(self.plan))
            helpers = [
                self._helper(work)
                for work in (
                    self._keep_up(board.measure),
                    self._keep_up(lambda: self._purge(env)),
                    handover.follow(),
                    whole.follow(),
                    handover.watch(),
                    handover.report(),
                    self._tell_moves(own, moves),
                    self._work(own),
                )
            ]
            if self.settings.drain:
                helpers.append(self._helper(self._keep_up(lambda: self._watch_drain(env))))
            await self._stopping.wait()
            # 4
            await _end(helpers)
            await handover.leave()
            await own.stopped()
            log.info("stopped: %d records processed", self.metrics.records)
        finally:
            self._progress.close()
            await _end(helpers)
            await handover.abort()
            if web is not None:
                await web.stop()
            await env.asking.close()
            await cluster.close()
            await whole.close()
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

    # What goes on beside

    async def _tell_moves(self, own: OwnWork, moves: asyncio.Queue[tuple[frozenset[str], frozenset[str]]]) -> None:
        while True:
            await own.rebalanced(*await moves.get())

    async def _work(self, own: OwnWork) -> None:
        """Run the app's own tasks from when the worker is ready, all until the worker stops."""
        while not self.ready:  # noqa: ASYNC110  (restores end in many places)
            await asyncio.sleep(_LOOK)
        await own.ready()
        tasks = [asyncio.create_task(work) for work in own.work()]
        try:
            await asyncio.gather(*tasks)
        finally:
            await _end(tasks)

    async def _keep_up(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do work that looks at the broker now and then, on and on where that was unavailable, as the tasks do."""
        while True:
            try:
                return await work()
            except BrokerUnavailable as error:
                log.warning("%s; tries again", error)
                self.metrics.trouble(str(error))
                await asyncio.sleep(_PURGE_EVERY)

    async def _watch_drain(self, env: Environment) -> None:
        while not (self.ready and await is_drained(env)):  # noqa: ASYNC110  (other workers take part; only the broker knows)
            await asyncio.sleep(_LOOK)
        log.info("drained: the inputs are processed to their end")
        self.stop()

    async def _purge(self, env: Environment) -> None:
        """Drop what is processed from the internal repartition topics."""
        while True:
            await asyncio.sleep(_PURGE_EVERY)
            inputs = [tp for task in list(self.tasks.values()) for tp in task.repartition_inputs()]
            if inputs:
                done = await env.broker.committed(env.group, inputs, stable=False)
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

    def _environment(self, broker: Any, codecs: Codecs) -> Environment:
        settings = self.settings
        self._hub = ChangeHub()
        self.asking = Asking(self.plan, codecs, broker, self.clock)
        self._progress = Progress(settings)
        self._stores = Stores(settings.state, settings.cache_bytes, settings.write_buffer_bytes)
        return Environment(
            plan=self.plan,
            broker=broker,
            codecs=codecs,
            clock=self.clock,
            metrics=self.metrics,
            hub=self._hub,
            decoders=table_decoders(self.plan),
            open_store=self._stores.open,
            progress=self._progress.restore,
            backoff=_back_off,
            commit_interval=settings.commit_seconds,
            asking=self.asking,
            commit_rows=settings.commit_records,
            chunk=settings.chunk_records,
            fetch_records=settings.fetch_records,
            idle_after=settings.idle_after,
            max_ahead=settings.max_ahead,
            guarantee=settings.guarantee,
            probe=self._probe,
            tracer=self._tracer,
        )


async def _back_off(attempt: int) -> None:
    """Wait longer after each failure of an agent, up to two seconds."""
    await asyncio.sleep(min(0.05 * 2**attempt, 2.0))


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
