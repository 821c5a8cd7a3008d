"""A whole web server on tables in memory: what it serves, and what a test may turn about it."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from functools import cache
from typing import Any, NamedTuple

import flows
from dsl.plan.graph import Plan
from flows import count, mean, tumbling
from flows.errors import FlowsError
from flows.query.base import Missing
from flows.web import Limits, Status, TaskStatus, WebServer
from tests.web.memory_tables import MemoryTables

HOUR = 3600.0
NEW_YEAR = 1356998400.0
"""2013-01-01 00:00 UTC."""


class Answered(NamedTuple):
    columns: list[str]
    rows: list[tuple[Any, ...]]
    truncated: bool = False
    missing: tuple[Missing, ...] = ()


class Site:
    """Tables, a status to set and a query that answers from a dict; `server()` makes a server of them."""

    def __init__(self, bound: int = 10_000) -> None:
        self.tables = MemoryTables(bound)
        self.state = Status(
            app="airport",
            worker="worker-1",
            started=1000.0,
            ready=True,
            records_per_second=48_211.6,
            lag=1234,
            tasks=(TaskStatus(id="0_0", state="running", lag=1234, watermark=NEW_YEAR),),
        )
        self.hangs: threading.Event | None = None
        self.asked: list[str] = []
        self.answer: Answered | Exception = Answered(["n"], [(1,)])

    def status(self) -> Status:
        if self.hangs is not None:
            self.hangs.wait(20)
        return self.state

    async def query(self, sql: str) -> Answered:
        self.asked.append(sql)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def server(self, **options: Any) -> WebServer:
        kept = {"port": 0, "limits": Limits(pace=0.05, memory=0.0), "plan": airport_plan()}
        return WebServer(self.tables, self, self.query, **{**kept, **options})


@cache
def airport_plan() -> Plan:
    """The plan of an app with the tables of `airport`: a topic, a declared table behind a repartition, an agent."""
    app = flows.App("airport")

    class Departure(flows.Record):
        carrier: str
        origin: str
        delay: float | None
        at: float

    departures = app.topic("departures", value=Departure, key="origin", timestamp="at", partitions=4)
    left = departures.filter(flows.col("delay").is_not_null())
    hours = left.group_by("carrier").window(tumbling("1h"))
    hours.agg(flights=count(), mean_delay=mean("delay")).table("delays_by_carrier")
    streak = app.table("late_streak", key=str, value=int, default=int)
    alerts = app.topic("alerts", value=dict)

    @app.agent(left, sink=[alerts])
    async def watch(stream: AsyncIterator[Departure]) -> AsyncIterator[dict[str, object]]:
        async for flight in stream:
            streak[flight.origin] = streak[flight.origin] + 1
            yield {"origin": flight.origin}

    return app.plan()


def airport(bound: int = 10_000) -> Site:
    """A site with a windowed table, a plain one and a dictionary table, all with rows."""
    site = Site(bound)
    site.tables.add("delays_by_carrier", ("carrier",), {"flights": "int", "mean_delay": "float"}, "tumbling 1h")
    site.tables.add("late_streak", ("key",), {"value": "int"})
    for hour in range(3):
        site.tables.put("delays_by_carrier", *(delay(name, hour) for name in ("AA", "UA", "B6")))
    site.tables.put("late_streak", {"key": "JFK", "value": 2}, {"key": "LGA", "value": 0})
    return site


def delay(carrier: str, hour: int, flights: int = 3, mean_delay: float | None = 4.25) -> dict[str, Any]:
    """A row of `delays_by_carrier`."""
    start = NEW_YEAR + hour * HOUR
    bounds = {"window_start": start, "window_end": start + HOUR}
    return {"carrier": carrier, **bounds, "flights": flights, "mean_delay": mean_delay}


NO_SUCH_COLUMN = FlowsError("no column 'n' in table 'late_streak'", fix="columns: key, value")
