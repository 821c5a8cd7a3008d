"""`/api/agents` and `/api/timers`: the functions of the app that run in its tasks, and how they fare."""

from __future__ import annotations

from collections import Counter

import msgspec
from aiohttp import web

from dsl.plan.graph import Plan
from dsl.plan.nodes import AgentNode, TableNode, TimerNode, written_by
from flows.web.answers import answer
from flows.web.api.status import group_of
from flows.web.base import CONTEXT, Context
from flows.web.endpoint import Endpoint


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """An agent: what it reads (a step), writes (topics) and keeps (tables); which tasks run it.

    A record that it fails on is tried `retries` times more, then `on_error` says what becomes of it; `refused` counts
    those of all workers since they started.
    """

    name: str
    function: str
    input: str
    writes: tuple[str, ...]
    tables: tuple[str, ...]
    concurrency: int
    retries: int
    on_error: str
    refused: int
    tasks: tuple[str, ...]


class Timer(msgspec.Struct, frozen=True, kw_only=True):
    """A function that is called by the clock: every so many seconds, by a `cron` expression, or for a key's moment.

    `kind` is "timer", "crontab" or "key". One with `tables` runs in each of the `tasks` that hold them; of a key's
    timers the table holds the moments, by `time`, "event" or "processing". One without runs once in the group, or in
    each worker (`everywhere`).
    """

    name: str
    kind: str
    function: str
    every: float | None = None
    cron: str = ""
    timezone: str = ""
    time: str = "processing"
    everywhere: bool = False
    tables: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()


def endpoints() -> list[Endpoint]:
    """Return `GET /api/agents` and `GET /api/timers`."""
    return [
        Endpoint(method="GET", path="/api/agents", handler=list_agents, answer=list[Agent]),
        Endpoint(method="GET", path="/api/timers", handler=list_timers, answer=list[Timer]),
    ]


async def list_agents(request: web.Request) -> web.Response:
    """List the app's agents, in the order in which they are declared."""
    context = request.app[CONTEXT]
    refused = await _refused(context)
    tasks = _tasks(context.plan)
    found = [
        Agent(
            name=node.id,
            function=node.function,
            input=node.input,
            writes=written_by(node),
            tables=node.tables,
            concurrency=node.concurrency,
            retries=node.retries,
            on_error=node.on_error,
            refused=refused[node.id],
            tasks=tasks.get(node.id, ()),
        )
        for node in context.plan.of_type(AgentNode)
    ]
    return answer(found)


async def list_timers(request: web.Request) -> web.Response:
    """List the app's timers, crontabs and timers of keys."""
    plan = request.app[CONTEXT].plan
    tasks = _tasks(plan)
    found = [
        Timer(
            name=node.id,
            kind="crontab" if node.cron else "timer",
            function=node.function,
            every=None if node.cron else node.interval / 1_000_000,
            cron=node.cron,
            timezone=node.timezone,
            everywhere=node.everywhere,
            tables=node.tables,
            tasks=tasks.get(node.id, ()),
        )
        for node in plan.of_type(TimerNode)
    ]
    found += [
        Timer(
            name=node.id,
            kind="key",
            function=node.on_close,
            time=node.timer,
            tables=(node.table,),
            tasks=tasks.get(node.id, ()),
        )
        for node in plan.of_type(TableNode)
        if node.timer
    ]
    return answer(found)


async def _refused(context: Context) -> Counter[str]:
    found: Counter[str] = Counter()
    for worker in (await group_of(context)).workers:
        found.update(worker.refused)
    return found


def _tasks(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Return the ids of the tasks that run each step."""
    return {step: tuple(part.task_ids()) for part in plan.subtopologies for step in part.steps}
