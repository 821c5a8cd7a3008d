"""Warm copies of tasks that run elsewhere: their state, kept up with its changelogs, so that a take-over is short."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from dsl.plan.graph import Plan
from flows.brokers.base import TopicPartition
from flows.compile.names import changelog, store_tables
from flows.errors import BrokerError, StateCorrupt, StateError
from flows.run.environment import Environment
from flows.run.stores import open_tables
from flows.state.base import Store
from flows.state.restore import TOMBSTONE_RETENTION, restore
from flows.state.to_the_end import to_the_end

log = logging.getLogger("flows.standby")

_LOOK = 0.5
_RETRY = 2.0


class Standbys:
    """The copies that this worker keeps. `replicas` is how many there should be of each task, all workers together.

    `stored` reads the changelog positions of a closed store, `discard` deletes one.

    A copy is a store that is restored again and again, as a task does it before it runs (`flows.state.restore`): what
    it lacks when the task comes here is what was committed in the last half second.
    """

    def __init__(
        self,
        env: Environment,
        replicas: int,
        *,
        stored: Callable[[str], Mapping[str, int] | None],
        discard: Callable[[str], None],
    ) -> None:
        self.replicas = replicas
        self.lags: dict[str, int] = {}
        self._env, self._stored, self._discard = env, stored, discard
        self._copies: dict[str, asyncio.Task[None]] = {}

    async def all_lags(self, tasks: Iterable[str]) -> dict[str, int]:
        """Return how many records of its changelogs the state of each task lacks that is here, kept warm or not.

        Tasks without a store here, or with one that cannot be read, are left out; all where members share a disk.
        """
        if self._env.broker.shares_disk:
            return {}
        found: dict[TopicPartition, tuple[str, int]] = {}
        for task_id in set(tasks) - self.lags.keys():
            changelogs = changelogs_of(self._env.plan, task_id)
            stored = await asyncio.to_thread(self._stored, task_id) if changelogs else None
            if stored is not None:
                found.update({tp: (task_id, stored.get(table, 0)) for table, tp in changelogs.items()})
        ends = await self._env.broker.end_offsets(found)
        lags = dict(self.lags)
        for tp, (task_id, position) in found.items():
            lags[task_id] = lags.get(task_id, 0) + max(0, ends[tp] - position)
        return lags

    def keep(self, tasks: Iterable[str]) -> None:
        """Keep copies of these tasks, and of no others. None of them may have its store open here."""
        wanted = {t for t in tasks if changelogs_of(self._env.plan, t)}
        for task_id in self._copies.keys() - wanted:
            self._copies[task_id].cancel()
        for task_id in wanted - self._copies.keys():
            copy = self._copies[task_id] = asyncio.create_task(self._follow(task_id), name=f"copy of {task_id}")
            copy.add_done_callback(partial(self._gone, task_id))

    async def end(self, task_id: str) -> None:
        """Close the copy of a task, which is then as far as it came."""
        copy = self._copies.get(task_id)
        if copy is not None:
            copy.cancel()
            await asyncio.wait([copy])

    async def close(self) -> None:
        """Close all copies."""
        await asyncio.gather(*map(self.end, list(self._copies)))

    def _gone(self, task_id: str, copy: asyncio.Task[None]) -> None:
        del self._copies[task_id]
        self.lags.pop(task_id, None)

    async def _follow(self, task_id: str) -> None:
        while True:
            try:
                await self._copy(task_id)
            except StateCorrupt as error:
                log.warning("the copy of task %s begins anew: %s", task_id, error)
                await asyncio.to_thread(self._discard, task_id)
            except (BrokerError, StateError) as error:
                self._env.metrics.trouble(f"the copy of task {task_id}: {error}")
                log.warning("the copy of task %s waits: %s", task_id, error)
            await asyncio.sleep(_RETRY)

    async def _copy(self, task_id: str) -> None:
        changelogs = changelogs_of(self._env.plan, task_id)
        store = await self._open(task_id, list(changelogs))
        complete, seen = False, float("-inf")
        try:
            while True:
                behind: dict[str, int] = {}
                # A copy that was here all the time has seen every tombstone, however long the changelogs were silent; a
                # process that was stopped for longer than they stay has not.
                here = self._env.clock.now() - seen < TOMBSTONE_RETENTION
                retention = float("inf") if here else TOMBSTONE_RETENTION

                def progress(table: str, done: int, total: int, rate: float, behind: dict[str, int] = behind) -> None:
                    behind[table] = total - done
                    self.lags[task_id] = sum(behind.values())

                await restore(
                    store, self._env.broker, changelogs, progress, tombstone_retention=retention, clock=self._env.clock
                )
                self.lags[task_id] = 0
                if not complete:
                    log.info("the copy of task %s is complete", task_id)
                complete, seen = True, self._env.clock.now()
                await asyncio.sleep(_LOOK)
        finally:
            await to_the_end(asyncio.to_thread(store.close))

    async def _open(self, task_id: str, tables: list[str]) -> Store:
        opening = asyncio.ensure_future(asyncio.to_thread(open_tables, self._env.open_store, task_id, tables))
        try:
            return await to_the_end(opening)
        except asyncio.CancelledError:
            if opening.exception() is None:
                await to_the_end(asyncio.to_thread(opening.result().close))
            raise


def changelogs_of(plan: Plan, task_id: str) -> dict[str, TopicPartition]:
    """Return the changelog partition of each table of a task; none of a source or a timer."""
    for part in plan.subtopologies:
        if task_id in (ids := part.task_ids()):
            partition = ids.index(task_id)
            return {t: TopicPartition(changelog(plan.app, t), partition) for t in store_tables(plan, part)}
    return {}
