"""Timers of keys, of event time and by the wall clock, one of which uses a table."""

from __future__ import annotations

import flows

app = flows.App("shop")


class Order(flows.Record):
    id: str
    at: float


orders = app.topic("orders", value=Order, key="id", timestamp="at", partitions=2)
told = app.topic("told", value=dict)
unpaid = app.key_timer("unpaid")
checks = app.key_timer("checks", key=str, time="processing")
reminded = app.table("reminded", value=int, default=int)


@app.agent(orders)
async def watch(stream: flows.Stream) -> None:
    async for order in stream:
        unpaid.set(order.id, after="15m")
        checks.set(order.id, after="1d")


@unpaid.on_time
async def remind(id: str, due: float) -> None:
    reminded[id] += 1
    await told.send({"id": id, "due": due})


@checks.on_time
def check(id: str, due: float) -> None:
    unpaid.cancel(id)
