"""Agents over groups: one behind an internal topic, one where the records are already."""

from __future__ import annotations

import flows

app = flows.App("shops")


class Sale(flows.Record):
    shop: str
    article: str
    pieces: int


sales = app.topic("sales", value=Sale, key="shop", partitions=4)
stock = app.table("stock", key=str, value=int, default=int)


@app.agent(sales.group_by("article", partitions=2))
async def keep_stock(stream: flows.Stream) -> None:
    async for sale in stream:
        stock[sale.article] -= sale.pieces


@app.agent(sales.group_by("shop", "article"))
async def watch(stream: flows.Stream) -> None:
    async for _ in stream:
        pass


@app.agent(sales)
async def inside(stream: flows.Stream) -> None:
    async for _ in stream.group_by("article", name="articles"):  # type: ignore[attr-defined]
        pass
