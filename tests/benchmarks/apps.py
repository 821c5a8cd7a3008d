"""W1 as flow modules: the sum of `amount` per user in tumbling windows of 10 s, declared and as an agent."""

from __future__ import annotations

from collections.abc import AsyncIterator

import flows
from flows import tumbling
from tests.benchmarks.workload import PARTITIONS, TOPIC


class PageView(flows.Record):
    user: str
    page: str
    amount: float
    ts: float


def declared(name: str = "w1-declared", topic: str = TOPIC, retention: str | None = "7d") -> flows.App:
    """Return W1 as a declared table."""
    app = flows.App(name)
    views = app.topic(topic, value=PageView, key="user", timestamp="ts", partitions=PARTITIONS, retention=retention)
    views.group_by("user").window(tumbling("10s")).agg(total=flows.sum("amount")).table("totals")
    return app


def agent() -> flows.App:
    """Return W1 as an agent with a dictionary table."""
    app = flows.App("w1-agent")
    views = app.topic(TOPIC, value=PageView, key="user", timestamp="ts", partitions=PARTITIONS)
    totals = app.table("totals", key=tuple[str, int], value=float, default=float)

    @app.agent(views)
    async def add(stream: AsyncIterator[PageView]) -> None:
        async for view in stream:
            totals[view.user, int(view.ts // 10)] += view.amount

    return app
