"""Events split by rule: by a value, by a function, into partitions by a rule, and by a topic's own partitioner."""

from __future__ import annotations

from collections.abc import AsyncIterator

import flows
from flows import col, count

app = flows.App("market", partitions=3)


class Order(flows.Record):
    kind: str
    customer: str
    amount: int


def by_name(key: bytes | None, partitions: int) -> int:
    return 0 if key is None else key[-1] % partitions


def by_amount(order: Order, partitions: int) -> int:
    return 0 if order.amount < 0 else 1 + order.amount % (partitions - 1)


def size(order: Order) -> flows.Topic:
    return small if order.amount < 50 else large


orders = app.topic("orders", value=Order)
a_words = app.topic("a_words", value=Order)
b_words = app.topic("b_words", value=Order)
small = app.topic("small", value=Order)
large = app.topic("large", value=Order)
shared = app.topic("shared", value=Order)
owned = app.topic("owned", value=Order, key="customer", partitioner=by_name)
picked = app.topic("picked", value=Order)
everything = app.topic("everything", value=Order)

known = orders.filter(col("kind").starts_with("a") | col("kind").starts_with("b"))
known.to(col("kind").slice(0, 1), topics={"a": a_words, "b": b_words})
orders.to(size, topics=[small, large], partition=col("amount") % 3)
orders.to(shared, partition=by_amount)
orders.through(owned).group_by("customer").agg(orders=count()).table("by_customer")


@app.agent(owned, sink=[everything, flows.router(size, topics=[small, picked])])
async def pick(stream: flows.Stream) -> AsyncIterator[Order]:
    async for order in stream:
        if order.amount < 50:
            yield order
