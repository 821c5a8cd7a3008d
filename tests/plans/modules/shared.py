"""Two agents over two topics that share a table, and so share tasks."""

from __future__ import annotations

import flows

app = flows.App("stock", partitions=3)


class Delivery(flows.Record):
    item: str
    pieces: int


deliveries = app.topic("deliveries", value=Delivery, key="item")
sales = app.topic("sales", value=Delivery, key="item")
stock = app.table("stock", key=str, value=int, default=int)
history = app.table("history", key=tuple[str, int], value=list[int], default=list)
forgotten = app.table("forgotten")


@app.agent(deliveries)
async def fill(stream: flows.Stream) -> None:
    async for d in stream:
        stock[d.item] += d.pieces
        history[d.item, 0] = [*history[d.item, 0], d.pieces]


@app.agent(sales)
async def empty(stream: flows.Stream) -> None:
    async for s in stream:
        stock[s.item] -= s.pieces
