"""`/api/openapi.json`: what the API can be asked, in OpenAPI 3.1."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from flows.web.answers import answer
from flows.web.endpoint import Endpoint

DESCRIPTION = web.AppKey("description", dict[str, Any])


def endpoints() -> list[Endpoint]:
    """Return `GET /api/openapi.json`."""
    return [Endpoint(method="GET", path="/api/openapi.json", handler=describe, answer=dict[str, Any])]


async def describe(request: web.Request) -> web.Response:
    """Describe the API as an OpenAPI 3.1 document."""
    return answer(request.app[DESCRIPTION])
