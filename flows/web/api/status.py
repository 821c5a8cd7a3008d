"""`/api/status`, `/api/workers` and `/api/tasks`: the worker and the others of its group, how they are."""

from __future__ import annotations

import time

import msgspec
from aiohttp import web

from flows.web.advice import advise
from flows.web.answers import answer
from flows.web.api.parameters import LOCAL, SCOPE, scope_of
from flows.web.base import CONTEXT, Advice, Context, GroupStatus, Status, TaskStatus, WorkerStatus
from flows.web.endpoint import Endpoint


class WorkerAndGroup(Status, frozen=True, kw_only=True):
    """This worker; and all workers of the group, this one first, with the tasks that none of them holds.

    `advice` says in words how all of them are, the worst first.
    """

    workers: tuple[WorkerStatus, ...] = ()
    unheld: tuple[str, ...] = ()
    advice: tuple[Advice, ...] = ()


class Tasks(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks of all workers, and the ids of those that none of them holds."""

    tasks: tuple[TaskStatus, ...]
    unheld: tuple[str, ...] = ()


def endpoints() -> list[Endpoint]:
    """Return `GET /api/status`, `GET /api/workers` and `GET /api/tasks`."""
    return [
        Endpoint(method="GET", path="/api/status", handler=show_status, parameters=(SCOPE,), answer=WorkerAndGroup),
        Endpoint(method="GET", path="/api/workers", handler=list_workers, answer=GroupStatus),
        Endpoint(method="GET", path="/api/tasks", handler=list_tasks, answer=Tasks),
    ]


async def show_status(request: web.Request) -> web.Response:
    """Tell how the worker is, and unless `?scope=local` how the others of its group are."""
    context = request.app[CONTEXT]
    status = context.status.status()
    if scope_of(request) == LOCAL:
        return answer(status)
    group = await group_of(context)
    told = {} if context.group is None else msgspec.structs.asdict(group)
    return answer({**msgspec.structs.asdict(status), **told, "advice": advise(group, time.time())})


async def list_workers(request: web.Request) -> web.Response:
    """List the workers of the group, this one first, each as it tells of itself."""
    return answer(await group_of(request.app[CONTEXT]))


async def list_tasks(request: web.Request) -> web.Response:
    """List the tasks of all workers, by their ids."""
    group = await group_of(request.app[CONTEXT])
    tasks = sorted((task for worker in group.workers for task in worker.tasks), key=lambda task: task.id)
    return answer(Tasks(tasks=tuple(tasks), unheld=group.unheld))


async def group_of(context: Context) -> GroupStatus:
    """Ask all workers how they are; of a worker without a group, itself."""
    if context.group is not None:
        return await context.group.status()
    status = msgspec.to_builtins(context.status.status())
    return GroupStatus(workers=(msgspec.convert({**status, "here": True, "address": ""}, WorkerStatus),))
