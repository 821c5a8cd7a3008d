"""`/health`: what a supervisor asks. They tell nothing of the data, and so need no token."""

from __future__ import annotations

import msgspec
from aiohttp import web

from flows.web.answers import answer
from flows.web.base import CONTEXT
from flows.web.endpoint import Endpoint


class Live(msgspec.Struct, frozen=True):
    """That the worker answers."""

    live: bool


class Ready(msgspec.Struct, frozen=True):
    """Whether the worker answers for all that it was given; `state` says why not."""

    ready: bool
    state: str


def endpoints() -> list[Endpoint]:
    """Return `GET /health/live` and `GET /health/ready`."""
    return [
        Endpoint(method="GET", path="/health/live", handler=live, answer=Live, secret=False),
        Endpoint(method="GET", path="/health/ready", handler=ready, answer=Ready, others={503: Ready}, secret=False),
    ]


async def live(request: web.Request) -> web.Response:
    """Answer 200 as long as the event loop turns."""
    return answer(Live(True))


async def ready(request: web.Request) -> web.Response:
    """Answer 200 once all tasks are restored, and 503 with the reason until then."""
    status = request.app[CONTEXT].status.status()
    if status.ready:
        return answer(Ready(True, status.state))
    return answer(Ready(False, status.state), status=503, headers={"Retry-After": "1"})
