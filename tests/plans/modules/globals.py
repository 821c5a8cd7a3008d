"""A global table, joined by expressions, and read by an agent that also feeds it."""

from __future__ import annotations

from typing import Any

import flows
from flows import col, sum

app = flows.App("shop", partitions=2)


class Rate(flows.Record):
    currency: str
    euros: float


class Order(flows.Record):
    user: str
    paid_in: str
    amount: float


rate_changes = app.topic("rate-changes", value=Rate, key="currency", partitions=3)
rates = app.global_table("rates", rate_changes)
orders = app.topic("orders", value=Order, key="user")
priced = orders.join(rates, on=col("paid_in").upper(), how="left")
spent = priced.with_columns(euros=col("amount") * col("euros")).group_by("user").agg(euros=sum("euros")).table("spent")


@app.agent(orders)
async def learn(stream: Any) -> None:
    async for order in stream:
        if order.paid_in not in rates:
            await rate_changes.send(Rate(order.paid_in, 1.0))
