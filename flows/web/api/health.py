"""`/health`: what a supervisor asks. They tell nothing of the data, and so need no token."""

from __future__ import annotations

from aiohttp import web

from flows.web.answers import answer
from flows.web.base import CONTEXT


def routes() -> list[web.AbstractRouteDef]:
    """Return `GET /health/live` and `GET /health/ready`."""
    return [web.get("/health/live", live), web.get("/health/ready", ready)]


async def live(request: web.Request) -> web.Response:
    """Answer 200 as long as the event loop turns."""
    return answer({"live": True})


async def ready(request: web.Request) -> web.Response:
    """Answer 200 once all tasks are restored, and 503 with the reason until then."""
    status = request.app[CONTEXT].status.status()
    if status.ready:
        return answer({"ready": True, "state": status.state})
    return answer({"ready": False, "state": status.state}, status=503, headers={"Retry-After": "1"})
