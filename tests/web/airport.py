"""A whole web server on tables in memory: what it serves, and what a test may turn about it."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

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
        return WebServer(
            self.tables, self, self.query, **{"port": 0, "limits": Limits(pace=0.05, memory=0.0), **options}
        )


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
