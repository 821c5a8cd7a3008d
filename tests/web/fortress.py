"""A server with something of everything behind its door: what an attack would be after."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientSession

from flows.brokers.base import Broker
from flows.clock import SystemClock
from flows.compile.names import topic_specs
from flows.decode.opened import open_codecs
from flows.query.sql import Result, run_sql
from flows.run.app_topics import AppTopics
from flows.web import Limits
from tests.web.airport import airport
from tests.web.contract import DOCUMENT
from tests.web.gates import Gate, rides_app

SECRET = "hunter2-is-the-row"
TOKEN = "correct horse battery staple"


class Fortress:
    """Its address, and a client that has the token where there is one."""

    def __init__(self, address: str, client: ClientSession, gate: Gate) -> None:
        self.address, self.client, self.gate = address, client, gate

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])


@asynccontextmanager
async def fortress(broker: Broker, *, token: str | None = None, **limits: Any) -> AsyncIterator[Fortress]:
    """Serve tables, SQL, topics, dead letters and the gateway."""
    site, app = airport(), rides_app()
    site.tables.put("late_streak", {"key": SECRET, "value": 1})
    plan = app.plan()
    for spec in topic_specs(plan):
        await broker.create_topic(spec)

    async def query(sql: str) -> Result:
        return await run_sql(sql, site.tables, timeout=0.5)

    site.query = query  # type: ignore[method-assign,assignment]
    gate = Gate(broker, app)
    server = site.server(
        token=token,
        plan=plan,
        topics=AppTopics(plan, broker, open_codecs(plan, url=None), SystemClock()),
        gateway=gate.gateway,
        limits=Limits(**{"memory": 0.0, **limits}),
    )
    address = await server.start()
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with ClientSession(address, headers=headers) as client:
        yield Fortress(address, client, gate)
    await server.stop()


def paths(method: str | None = None) -> Iterator[tuple[str, str]]:
    """Yield the method and an example of each path that the API describes."""
    for path, operations in DOCUMENT["paths"].items():
        filled = path.replace("{partition}", "0").replace("{offset}", "0")
        if path.startswith("/api/tables"):
            filled = filled.replace("{name}", "late_streak")
        else:
            filled = filled.replace("{name}", "gates-notes")
        for known in operations:
            if method is None or known == method:
                yield known.upper(), filled
