"""Streams as a whole: two merged into one, a sample, and one without repetitions."""

from __future__ import annotations

import flows
from flows import col, count, tumbling

app = flows.App("counter", partitions=2)


class Sale(flows.Record):
    order: str
    shop: str
    amount: int
    at: float


counters = app.topic("counters", value=Sale, key="shop", timestamp="at", partitioned_by="murmur2")
online = app.topic("online", value=Sale, key="shop", timestamp="at", partitioned_by="murmur2")
checked = app.topic("checked", value=Sale)

sales = counters.merge(online.filter(col("amount") > 0))
sales.group_by("shop").window(tumbling("1h")).agg(sales=count()).table("by_shop")
sales.sample(0.1, by="order").to(checked)
counters.sample(every=50).to(checked)
counters.dedupe("shop", "order", within="6h", name="orders_once").group_by("order").agg(sales=count()).table("by_order")
