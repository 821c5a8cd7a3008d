"""Dictionary tables with windows, and a table of sets; the end of one table's windows writes another table."""

from __future__ import annotations

from typing import Any

import flows

app = flows.App("site")


class View(flows.Record):
    page: str
    at: float


views = app.topic("views", value=View, key="page", timestamp="at", partitions=2)


def add_up(key: Any, value: int) -> None:
    totals[key[0]] += value


minutes = app.table("minutes", value=int, default=int, on_window_close=add_up).tumbling("1m", expires="1h")
trend = app.table("trend", value=float, default=float).hopping("10s", "5s")
pages = app.set_table("pages", key=int)
lately = app.set_table("lately").tumbling("1h", expires="1d")
totals = app.table("totals", value=int, default=int)


@app.agent(views)
async def count(stream: flows.Stream) -> None:
    async for view in stream:
        minutes[view.page] += 1
        pages[len(view.page)].add(view.page)
        trend[view.page] = minutes[view.page].current() / 60
