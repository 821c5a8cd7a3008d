"""This worker among the others of its group: the tables of all, and how all of them are."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from dsl.plan.fingerprint import plan_hash
from dsl.plan.graph import Plan
from flows.brokers.base import Member
from flows.compile.lookup import KeyLookup
from flows.query.base import Holder, LocalTables, Missing, Row
from flows.query.cluster import ClusterTables
from flows.query.members import Members
from flows.query.peers import PeerError, Peers
from flows.run.environment import Environment
from flows.web.base import GroupStatus, StatusSource, TaskStatus, WorkerStatus

_NOBODY = "nobody"


class Cluster:
    """Implements `Group`; `tables` are those of all workers. `token` is what the workers ask each other for."""

    def __init__(
        self, env: Environment, worker: str, local: LocalTables, board: StatusSource, token: str | None
    ) -> None:
        plan = env.plan
        self.worker, self.local, self._board = worker, local, board
        self._members = Members(lambda: env.broker.group_members(env.group), worker)
        self._peers = Peers(plan_hash(plan), token)
        self._tasks = table_tasks(plan)
        self._all = [t for part in plan.subtopologies for t in part.task_ids()]
        self._lookups = {name: KeyLookup(plan, name) for name in env.decoders}
        self.tables = ClusterTables(local, env.decoders, self._tasks, self._members, self._peers)

    async def status(self) -> GroupStatus:
        """Ask all workers how they are."""
        members = await self._members.now()
        others = sorted((m for m in members if m.id != self._members.me), key=lambda m: m.id)
        mine = next((m for m in members if m.id == self._members.me), Member(id=self._members.me))
        workers = (self._of_this(mine), *await asyncio.gather(*map(self._of_peer, others)))
        held = {t for m in members for t in m.tasks} | {t.id for w in workers for t in w.tasks}
        return GroupStatus(workers=workers, unheld=tuple(t for t in self._all if t not in held))

    async def holders(self) -> dict[str, list[Holder]]:
        """Return who holds each partition of each table."""
        status = await self.status()
        tasks = {task.id: task for worker in status.workers for task in worker.tasks}
        return {table: [_holder(p, tasks.get(t)) for p, t in enumerate(ids)] for table, ids in self._tasks.items()}

    async def look_up(
        self, table: str, key: Mapping[str, str], window: float | None, missing: list[Missing]
    ) -> list[Row]:
        """Return the rows of one key, of its owner where the key tells whom. Raises `UsageError` for a wrong key."""
        encoded, owner = self._lookups[table].read(key)
        return await self.tables.look_up(table, encoded, owner, window, missing)

    async def close(self) -> None:
        """End all readers and connections."""
        await self.tables.close()
        await self._peers.close()

    def _of_this(self, member: Member) -> WorkerStatus:
        status = msgspec.to_builtins(self._board.status())
        return msgspec.convert({**status, "here": True, "address": member.address}, WorkerStatus)

    async def _of_peer(self, member: Member) -> WorkerStatus:
        try:
            told: WorkerStatus = await self._peers.json(member, "/api/status", {"scope": "local"}, _Told)
        except PeerError as error:
            tasks = tuple(TaskStatus(id=t, state="unknown", worker=member.id) for t in member.tasks if t in self._all)
            return WorkerStatus(worker=member.id, address=member.address, tasks=tasks, trouble=str(error))
        return msgspec.convert({**msgspec.to_builtins(told), "address": member.address}, WorkerStatus)


class _Told(WorkerStatus, frozen=True, kw_only=True):
    """A worker's own status, whose address is what the group knows."""

    address: str = ""


def table_tasks(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Return the ids of each table's tasks, by partition; none for a table that nothing touches."""
    parts = {step: part for part in plan.subtopologies for step in part.steps}
    return {
        name: tuple(parts[node.id].task_ids()) if node.id in parts else () for name, node in plan.table_nodes().items()
    }


def _holder(partition: int, task: TaskStatus | None) -> Holder:
    if task is None:
        return Holder(partition=partition, worker=None, state=_NOBODY)
    return Holder(partition=partition, worker=task.worker, state=task.state, done=task.done, total=task.total)
