"""The gateway's own server, where it runs without a worker."""

from __future__ import annotations

import asyncio

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from flows.brokers.base import TopicPartition
from flows.errors import FlowsError
from flows.web.answers import answer, errors_as_json
from flows.web.endpoint import routes_of
from flows.web.gateway.gateway import GATEWAY, Gateway
from flows.web.gateway.metrics import GatewayCollector
from flows.web.gateway.routes import endpoints
from flows.web.guard import Guard, add_security_headers, check_binding
from flows.web.listening import Listener

_BROKER_SECONDS = 2.0


class GatewayServer:
    """Serves a gateway, with health and metrics. Its guard is the worker's. Raises `UsageError` without a token."""

    def __init__(
        self,
        gateway: Gateway,
        host: str = "127.0.0.1",
        port: int = 6067,
        *,
        token: str | None = None,
        advertised: str | None = None,
        shared: bool = False,
    ) -> None:
        check_binding(host, token)
        self._gateway, self._token = gateway, token
        self._listener = Listener(
            host,
            port,
            option="--port",
            idle_seconds=gateway.limits.idle_seconds,
            advertised=advertised,
            shared=shared,
        )

    async def start(self) -> str:
        """Listen and return the address; raises `FlowsError` where that cannot be."""
        return await self._listener.start(self._application())

    async def stop(self) -> None:
        """Stop listening; what is on the way is written. Does nothing when not started."""
        if self._listener.started:
            await self._gateway.close()
            await self._listener.stop()

    def _application(self) -> web.Application:
        guard = Guard(self._listener.host, self._token)
        app = web.Application(middlewares=[errors_as_json, guard.middleware])
        app[GATEWAY] = self._gateway
        app.add_routes(
            [
                *routes_of(endpoints()),
                web.get("/health/live", live),
                web.get("/health/ready", ready),
                web.get("/metrics", show),
            ]
        )
        app.on_response_prepare.append(add_security_headers)
        return app


async def live(request: web.Request) -> web.Response:
    """Answer 200 as long as the event loop turns."""
    return answer({"live": True})


async def ready(request: web.Request) -> web.Response:
    """Answer 200 if the broker answers, and 503 with the reason if it does not: it is asked now."""
    gateway = request.app[GATEWAY]
    try:
        async with asyncio.timeout(_BROKER_SECONDS):
            await gateway.broker.end_offsets([TopicPartition(name, 0) for name in gateway.topics])
    except (FlowsError, TimeoutError) as error:
        state = f"the broker does not answer: {error}" if str(error) else "the broker does not answer"
        return answer({"ready": False, "state": state}, status=503, headers={"Retry-After": "1"})
    return answer({"ready": True, "state": "running"})


async def show(request: web.Request) -> web.Response:
    """Answer the gateway's metrics as they are at this moment."""
    found = CollectorRegistry()
    found.register(GatewayCollector(request.app[GATEWAY]))
    ProcessCollector(registry=found)
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(found), headers={"Content-Type": content_type})
