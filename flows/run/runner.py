"""Run single tasks of a worker, of every kind, until they are asked to end; recover from what goes wrong on the way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter

from dsl.plan.graph import Plan
from dsl.plan.nodes import SourceNode, TaskNode
from flows.brokers.base import TopicPartition
from flows.errors import BrokerUnavailable, Fenced, OutcomeUnknown, StateCorrupt
from flows.run.environment import Environment
from flows.run.free_timers import FreeTimer, free_timers, timer_task_id
from flows.run.linger import Linger
from flows.run.own_work import LeaderTask, leader_task_id
from flows.run.progress import Progress
from flows.run.source_task import SourceTask, source_task_id
from flows.run.task import Task
from flows.state.to_the_end import to_the_end

log = logging.getLogger("flows.worker")

PATIENCE = 3.0
"""Seconds that a task which must go has to finish what is in hand."""

_PAUSE = 0.5
_FULL = 2_000

Mine = Callable[[], Awaitable[bool]]


class TaskRunner:
    """The tasks that a worker may hold, and those that it runs.

    `discard` deletes a task's closed store; `compatible` is called once a task found its stored state to fit the plan.
    """

    def __init__(
        self,
        env: Environment,
        progress: Progress,
        speed: float | None,
        *,
        discard: Callable[[str], None],
        compatible: Callable[[], None],
    ) -> None:
        self.tasks: dict[str, Task] = {}
        self.inputs = task_inputs(env.plan)
        self._env, self._progress, self._speed = env, progress, speed
        self._linger = Linger(by_cost=env.guarantee == "exactly_once")
        self._discard, self._compatible = discard, compatible
        self._parts = {t: (part, p) for part in env.plan.subtopologies for p, t in enumerate(part.task_ids())}
        self._source_nodes = {source_task_id(n.id): n for n in env.plan.of_type(SourceNode)}
        self._timer_nodes = {timer_task_id(n.id): n for n in free_timers(env.plan)}
        self._task_nodes = {leader_task_id(n.id): n for n in env.plan.of_type(TaskNode) if n.on_leader}
        self._stoppable: dict[str, SourceTask | FreeTimer | LeaderTask] = {}
        self._limits: dict[str, asyncio.Timeout] = {}
        self._ending: set[str] = set()
        self._restoring: set[str] = set()

    async def run(self, task_id: str, mine: Mine) -> bool:
        """Run a task; return whether it was asked to end, else the group no longer gives it to this worker.

        Before each start `mine` must confirm that: a late start would fence the task's holder. What goes wrong at the
        broker or the store is recovered from. Raises what is left: a `FlowsError`, or a fault.
        """
        while task_id not in self._ending:
            try:
                if not await mine():
                    return False
                self._env.probe("rebalance 6")
                await self._run_within_limit(task_id)
            except Fenced as error:
                log.warning("task %s was taken over by another worker: %s", task_id, error)
                await asyncio.sleep(_PAUSE)
            except (OutcomeUnknown, BrokerUnavailable) as error:
                log.warning("task %s starts again from what is committed: %s", task_id, error)
                self._env.metrics.trouble(f"task {task_id}: {error}")
                await asyncio.sleep(_PAUSE)
            except StateCorrupt as error:
                log.warning("task %s rebuilds its state from the changelogs: %s", task_id, error.message)
                self._env.metrics.trouble(f"task {task_id}: {error.message}; it is rebuilt from the changelogs")
                await asyncio.to_thread(self._discard, task_id)
            except Exception:
                log.debug("task %s failed", task_id, exc_info=True)
                raise
            else:
                return True
        return True

    def end(self, task_id: str) -> None:
        """Ask a task to finish, commit and close; after `PATIENCE`, or while it is restored, to close only."""
        if task_id in self._ending:
            return
        self._ending.add(task_id)
        if task_id in self._stoppable:
            self._stoppable[task_id].stop()
        limit = self._limits.get(task_id)
        if limit is not None and not limit.expired():
            patience = 0.0 if task_id in self._restoring else PATIENCE
            limit.reschedule(asyncio.get_running_loop().time() + patience)

    def go_on(self, task_id: str) -> None:
        """Take the asking back, as far as the task has not ended yet."""
        self._ending.discard(task_id)
        limit = self._limits.get(task_id)
        if limit is not None and not limit.expired():
            limit.reschedule(None)

    def all_ready(self, wanted: Iterable[str]) -> bool:
        """Tell whether the state of all these tasks is restored."""
        return all(t in self.tasks and self.tasks[t].ready for t in wanted if t in self._parts)

    async def _run_within_limit(self, task_id: str) -> None:
        try:
            async with asyncio.timeout(None) as limit:
                self._limits[task_id] = limit
                await self._run_one(task_id, limit)
        except TimeoutError:
            if not limit.expired():
                raise
            log.warning("task %s was taken away before it was done: its next holder does it again", task_id)
        finally:
            del self._limits[task_id]

    async def _run_one(self, task_id: str, limit: asyncio.Timeout) -> None:
        if task_id in self._source_nodes:
            await self._run_source(task_id)
        elif task_id in self._timer_nodes:
            await self._run_stoppable(task_id, FreeTimer(self._env, self._timer_nodes[task_id]))
        elif task_id in self._task_nodes:
            await self._run_stoppable(task_id, LeaderTask(self._env, self._task_nodes[task_id]))
        else:
            await self._run_partition(task_id, limit)

    async def _run_stoppable(self, task_id: str, work: FreeTimer | LeaderTask) -> None:
        self._stoppable[task_id] = work
        try:
            await work.run()
        finally:
            del self._stoppable[task_id]

    async def _run_partition(self, task_id: str, limit: asyncio.Timeout) -> None:
        task = self.tasks[task_id] = Task(self._env, *self._parts[task_id])
        finished = False
        try:
            self._restoring.add(task_id)
            try:
                await task.start()
            finally:
                self._restoring.discard(task_id)
            log.debug("task %s is ready", task_id)
            self._compatible()
            while task_id not in self._ending:
                begun = perf_counter()
                moved = await task.step(task.next_due())
                await task.tick()
                if moved and task.fetched < _FULL:
                    await asyncio.sleep(self._linger.after(perf_counter() - begun))
            # 2
            self._env.probe("rebalance 2")
            # 3
            await task.finish()
            self._env.probe("rebalance 3")
            if not limit.expired():
                limit.reschedule(None)  # a store may take long to close
            finished = True
        finally:
            try:
                # 4
                await to_the_end(task.close() if finished else task.abandon())
            finally:
                del self.tasks[task_id]
        self._env.probe("rebalance 4")

    async def _run_source(self, task_id: str) -> None:
        node = self._source_nodes[task_id]
        source = self._stoppable[task_id] = SourceTask(self._env, node, self._speed, self._progress.source)
        try:
            await source.run()
            await source.stopped.wait()
        finally:
            del self._stoppable[task_id]


def task_inputs(plan: Plan) -> dict[str, list[TopicPartition]]:
    """Return all tasks of a plan, each with the partitions that it reads: none for a source or a timer."""
    found = {
        task_id: [TopicPartition(topic, partition) for topic in part.inputs]
        for part in plan.subtopologies
        for partition, task_id in enumerate(part.task_ids())
    }
    sources = [source_task_id(n.id) for n in plan.of_type(SourceNode)]
    timers = [timer_task_id(n.id) for n in free_timers(plan)]
    tasks = [leader_task_id(n.id) for n in plan.of_type(TaskNode) if n.on_leader]
    return {**found, **{t: [] for t in (*sources, *timers, *tasks)}}
