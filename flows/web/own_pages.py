"""The pages that an app declares, beside the worker's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web

from dsl.outside import Page
from flows.errors import AnswerTimeout
from flows.web.answers import Handler, answer, refusal

AsRuntime = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]
"""Runs a coroutine as one that may send to topics and ask agents."""


def own_routes(pages: Sequence[Page], as_runtime: AsRuntime) -> list[web.AbstractRouteDef]:
    """Return the routes of an app's pages."""
    return [web.route(m, p.path, _handler(p, as_runtime)) for p in pages for m in p.methods]


def _handler(page: Page, as_runtime: AsRuntime) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            found = await as_runtime(lambda: page.function(request))
        except AnswerTimeout as error:
            return refusal(504, str(error))
        if isinstance(found, web.StreamResponse):
            return found
        return web.Response(text=found) if isinstance(found, str) else answer(found)

    return handle
