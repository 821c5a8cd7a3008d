"""The API: one module a resource, each with its `routes()`."""

from __future__ import annotations

from aiohttp import web

from flows.web.api import changes, health, metrics, query, status, tables


def routes() -> list[web.AbstractRouteDef]:
    """Return the routes of all resources."""
    return [*tables.routes(), *changes.routes(), *query.routes(), *status.routes(), *health.routes(), *metrics.routes()]
