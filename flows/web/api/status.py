"""`/api/status`: the worker, its tasks and its rates."""

from __future__ import annotations

from aiohttp import web

from flows.web.answers import answer
from flows.web.base import CONTEXT


def routes() -> list[web.AbstractRouteDef]:
    """Return `GET /api/status`."""
    return [web.get("/api/status", show)]


async def show(request: web.Request) -> web.Response:
    """Answer the worker's `Status`."""
    return answer(request.app[CONTEXT].status.status())
