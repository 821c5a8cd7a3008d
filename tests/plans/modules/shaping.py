"""Select, with_columns and map, one after the other, written to topics on the way."""

from __future__ import annotations

import datetime as dt

import flows
from flows import col, when

app = flows.App("shop")


class Order(flows.Record):
    customer: str
    amount: float
    currency: str
    tags: list[str]
    placed: dt.datetime


class Priced(flows.Record):
    customer: str
    euros: float


def convert(order: Order) -> Priced | None:
    return None if order.currency == "?" else Priced(order.customer, order.amount * 0.9)


orders = app.topic("orders", value=Order, key="customer", timestamp="placed", partitions=2, on_error="skip")
priced = app.topic("priced", value=Priced, key="customer", partitions=2)
big = app.topic("big", value=dict, codec="msgpack")

shaped = orders.filter((col("placed") >= dt.datetime(2024, 1, 1)) & ~col("currency").is_in(["?", ""])).with_columns(
    currency=col("currency").upper(),
    size=when(col("amount") > 1000).then("big").when(col("amount") > 10).then("small").otherwise(None),
)
shaped.filter(col("size") == "big").select("customer", cents=(col("amount") * 100).round().cast(int)).to(big)
orders.map(convert).to(priced)
