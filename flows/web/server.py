"""The web server of a worker: puts the routes, the guard and the page together and runs in the worker's event loop."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from dsl.plan.graph import Plan
from flows.metrics import WorkerMetrics
from flows.query.base import SIGNATURE, Tables
from flows.web import api, pages
from flows.web.answers import errors_as_json
from flows.web.api.description import DESCRIPTION
from flows.web.base import CONTEXT, Context, Group, Limits, Query, StatusSource
from flows.web.counting import count_requests
from flows.web.endpoint import routes_of
from flows.web.gateway import GATEWAY, Gateway
from flows.web.gateway import endpoints as gateway_endpoints
from flows.web.guard import Guard, add_security_headers, check_binding
from flows.web.listening import Listener
from flows.web.openapi import document
from flows.web.topics import Topics


class WebServer:
    """Serves the live page and the API of a worker.

    `token`, where given, is asked of every call to the API; an address that others can reach needs one. `group`, where
    given, tells of the other workers; `metrics` are what `/metrics` adds to the status, `own` the app's pages,
    `gateway` takes events from outside, `plan` is what the app declares, and `topics` reads its
    topics. Raises `UsageError` when the token is missing.
    """

    def __init__(
        self,
        tables: Tables,
        status: StatusSource,
        query: Query,
        host: str = "127.0.0.1",
        port: int = 6066,
        *,
        token: str | None = None,
        limits: Limits | None = None,
        group: Group | None = None,
        advertised: str | None = None,
        metrics: WorkerMetrics | None = None,
        own: Sequence[web.AbstractRouteDef] = (),
        gateway: Gateway | None = None,
        plan: Plan | None = None,
        topics: Topics | None = None,
    ) -> None:
        self._own = own
        check_binding(host, token)
        self._token = token
        self._context = Context(tables, status, query, limits or Limits(), group, metrics, plan, topics)
        self._gateway = gateway
        limits = self._context.limits
        idle = limits.idle_seconds if gateway is None else min(limits.idle_seconds, gateway.limits.idle_seconds)
        self._listener = Listener(host, port, option="--web-port", idle_seconds=idle, advertised=advertised)

    async def start(self) -> str:
        """Listen and return the address, as `http://127.0.0.1:6066`; raises `FlowsError` where that cannot be.

        It names `advertised`, where given, else the host it listens on; this machine's name where that is any.
        """
        return await self._listener.start(self._application())

    async def stop(self) -> None:
        """End the change streams and the gateway, then every other request, and stop listening.

        Does nothing when not started.
        """
        if self._listener.started:
            self._context.closing.set()
            await self._context.journals.close()
            if self._gateway is not None:
                await self._gateway.close()
            await self._listener.stop()

    def _application(self) -> web.Application:
        guard = Guard(self._listener.host, self._token)
        app = web.Application(
            middlewares=[count_requests, errors_as_json, guard.middleware], client_max_size=self._context.limits.body
        )
        app[CONTEXT] = self._context
        endpoints = api.endpoints()
        if self._gateway is not None:
            app[GATEWAY] = self._gateway
            endpoints += gateway_endpoints()
        app[DESCRIPTION] = document(endpoints)
        app.add_routes([*routes_of(endpoints), *pages.routes(), *self._own])
        app.on_response_prepare.append(add_security_headers)
        app.on_response_prepare.append(_sign)
        return app


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    """Tell other workers who answers, and nobody whose question was refused."""
    group = request.app[CONTEXT].group
    if group is not None and response.status == 200 and request.path.startswith("/api/"):
        response.headers[SIGNATURE] = group.worker
