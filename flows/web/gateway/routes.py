"""The gateway's routes, in a worker's server and in its own."""

from __future__ import annotations

from aiohttp import web

from flows.web.gateway.posts import post
from flows.web.gateway.sockets import socket


def routes() -> list[web.AbstractRouteDef]:
    """Return `POST /topics/NAME`, and `GET` there for WebSockets."""
    return [web.post("/topics/{name}", post), web.get("/topics/{name}", socket, allow_head=False)]
