"""The app that the page is looked at with: a table by the hour, and an agent that fails on some orders until mended."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import flows
from flows import count, sum, tumbling

app = flows.App("market")


class Order(flows.Record):
    customer: str
    country: str
    amount: float
    at: float


orders = app.topic("orders", value=Order, key="customer", timestamp="at", partitions=2, retention=None)
vips = app.topic("vips", value=dict)
sales = (
    orders.group_by("country")
    .window(tumbling("1h", grace="30d"))
    .agg(orders=count(), revenue=sum("amount"))
    .table("sales")
)
spent = app.table("spent", key=str, value=float, default=float)


@app.agent(orders, sink=[vips], retries=0)
async def watch(stream: AsyncIterator[Order]) -> AsyncIterator[dict[str, Any]]:
    """Add up what each customer spends; it fails on one of them unless MARKET_MENDED is set."""
    async for order in stream:
        if order.customer == "mallory" and "MARKET_MENDED" not in os.environ:
            raise ValueError("no customer <b>mallory</b>")
        spent[order.customer] += order.amount
        if spent[order.customer] >= 1000:
            yield {"customer": order.customer, "spent": spent[order.customer]}


@app.timer(interval=3600.0)
async def tidy() -> None:
    """Do nothing, once an hour."""
