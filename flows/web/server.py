"""The web server of a worker: puts the routes, the guard and the page together and runs in the worker's event loop."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from ipaddress import ip_address

from aiohttp import web

from flows.errors import FlowsError
from flows.metrics import WorkerMetrics
from flows.query.base import SIGNATURE, Tables
from flows.web import api, pages
from flows.web.answers import errors_as_json
from flows.web.base import CONTEXT, Context, Group, Limits, Query, StatusSource
from flows.web.guard import Guard, add_security_headers, check_binding

_GOODBYE = 0.5
"""Seconds that handlers get to end by themselves when the server stops."""


class WebServer:
    """Serves the live page and the API of a worker.

    `token`, where given, is asked of every call to the API; an address that others can reach needs one. `group`, where
    given, tells of the other workers; `metrics` are what `/metrics` adds to the status, `own` the app's pages. Raises
    `UsageError` when the token is missing.
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
    ) -> None:
        self._own = own
        check_binding(host, token)
        # `localhost` may name two addresses, which would get two different free ports.
        self._host = "127.0.0.1" if host == "localhost" else host
        self._port = port
        self._token = token
        self._advertised = advertised
        self._context = Context(tables, status, query, limits or Limits(), group, metrics)
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listen and return the address, as `http://127.0.0.1:6066`; raises `FlowsError` where that cannot be.

        It names `advertised`, where given, else the host it listens on; this machine's name where that is any.
        """
        runner = web.AppRunner(
            self._application(), access_log=None, handler_cancellation=True, shutdown_timeout=_GOODBYE
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            await runner.cleanup()
            raise self._unusable(error) from error
        self._runner = runner
        bound, port = runner.addresses[0][:2]
        # "All addresses" is no address to go to, least of all from another machine.
        host = self._advertised or (socket.gethostname() if ip_address(bound).is_unspecified else bound)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def stop(self) -> None:
        """End the change streams, then every other request, and stop listening. Does nothing when not started."""
        runner, self._runner = self._runner, None
        if runner is not None:
            self._context.closing.set()
            await runner.cleanup()

    def _application(self) -> web.Application:
        guard = Guard(self._host, self._token)
        app = web.Application(middlewares=[errors_as_json, guard.middleware], client_max_size=self._context.limits.body)
        app[CONTEXT] = self._context
        app.add_routes([*api.routes(), *pages.routes(), *self._own])
        app.on_response_prepare.append(add_security_headers)
        app.on_response_prepare.append(_sign)
        return app

    def _unusable(self, error: OSError) -> FlowsError:
        if error.errno == errno.EADDRINUSE:
            why, fix = "is taken", "choose another with --web-port (0 picks a free one)"
        elif error.errno == errno.EACCES:
            why, fix = "needs more rights than this user has", "choose one from 1024 on with --web-port"
        else:
            why = f"cannot be used: {os.strerror(error.errno) if error.errno else error}"
            fix = "check the address, or choose another port with --web-port"
        return FlowsError(f"port {self._port} of {self._host} {why}", fix=fix)


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    """Tell other workers who answers, and nobody whose question was refused."""
    group = request.app[CONTEXT].group
    if group is not None and response.status == 200 and request.path.startswith("/api/"):
        response.headers[SIGNATURE] = group.worker
