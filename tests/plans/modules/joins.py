"""Streams joined with streams and tables, some behind internal topics."""

import flows
from flows import count, sum

app = flows.App("joins")


class Order(flows.Record):
    user: str | None
    item: str
    amount: float
    at: float


class Payment(flows.Record):
    user: str
    amount: float
    at: float


class User(flows.Record):
    id: str
    city: str


orders = app.topic("orders", value=Order, key="user", timestamp="at", partitions=4, partitioned_by="murmur2")
payments = app.topic("payments", value=Payment, timestamp="at", partitions=2)
users = app.topic("users", value=User, key="id", partitions=4, partitioned_by="murmur2").table("people", versioned="1d")

paid = orders.join(payments, "user", how="left", within="5m", grace="1m", suffix="_paid")
late = paid.late
at_home = paid.join(users, how="left", on="user")
by_city = at_home.group_by("city").agg(orders=count(), paid=sum("amount_paid")).table("by_city")
quoted = orders.join_asof(orders.filter(flows.col("amount") > 100), tolerance="1h", suffix="_before", name="quoted")
spent = orders.group_by("user").agg(spent=sum("amount")).table("spent")
payments.join(spent, on="user", name="spent_so_far")
