"""`/api/status`: the worker, its tasks and its rates; and the other workers of the group."""

from __future__ import annotations

import msgspec
from aiohttp import web

from flows.web.answers import answer
from flows.web.api.parameters import LOCAL, scope_of
from flows.web.base import CONTEXT


def routes() -> list[web.AbstractRouteDef]:
    """Return `GET /api/status`."""
    return [web.get("/api/status", show)]


async def show(request: web.Request) -> web.Response:
    """Answer the worker's `Status`; and, unless `?scope=local`, `workers` and `unheld` of the `GroupStatus`."""
    context = request.app[CONTEXT]
    status = context.status.status()
    if context.group is None or scope_of(request) == LOCAL:
        return answer(status)
    group = await context.group.status()
    return answer({**msgspec.structs.asdict(status), **msgspec.structs.asdict(group)})
