"""Streams joined with tables: what a person sees of it."""

from __future__ import annotations

import flows
from flows import count, sum
from flows.testing import Driver


class Order(flows.Record):
    user: str | None
    amount: float
    at: float


class User(flows.Record):
    user: str
    city: str
    at: float


class Plain(flows.Record):
    user: str
    city: str


def cities(t: Driver, stream: flows.Stream) -> list[tuple[float, str | None]]:
    return [(r.value["amount"], r.value["city"]) for r in t.output(stream)]


def test_a_record_meets_the_row_of_its_key_as_it_is_then() -> None:
    app = flows.App("shop")
    users = app.topic("users", value=User, key="user", timestamp="at").table("users_now")
    orders = app.topic("orders", value=Order, key="user", timestamp="at")
    left, inner = orders.join(users, how="left", suffix="_user"), orders.join(users, suffix="_user", name="known")
    with app.test() as t:
        t.send("users", User("ann", "Rome", 1.0))
        t.send("orders", Order("ann", 1.0, 2.0))
        t.send("orders", Order("bob", 2.0, 3.0))
        t.send("users", User("ann", "Oslo", 4.0))
        t.crash()
        t.send("orders", Order("ann", 3.0, 2.5))
        t.send("users", None, key="ann")
        t.rebalance()
        t.send("orders", Order("ann", 4.0, 6.0))
        t.send("orders", Order(None, 5.0, 6.0))
        assert cities(t, left) == [(1.0, "Rome"), (2.0, None), (3.0, "Oslo"), (4.0, None), (5.0, None)]
        assert cities(t, inner) == [(1.0, "Rome"), (3.0, "Oslo")]
        assert t.metrics.refused == {("known", "skip"): 1}
        t.send("users", User("cy", "Bonn", 9.0))
        assert t.table("users_now").rows() == [{"user": "cy", "city": "Bonn", "at": 9.0}]


def test_a_removal_from_the_future_removes_nothing() -> None:
    app = flows.App("shop")
    users = app.topic("users", value=Plain, key="user").table("users_now", versioned="1h")
    orders = app.topic("orders", value=Order, key="user", timestamp="at")
    joined = orders.join(users, how="left", suffix="_user")
    with app.test(now=1000.0) as t:
        t.send("users", Plain("ann", "Rome"), at=1.0)
        with t.batch():
            t.send("users", None, key="ann", at=4_000_000_000.0)
            t.send("users", Plain("bob", "Oslo"), at=2.0)
        t.send(orders, Order("ann", 1.0, 3.0))
        assert cities(t, joined) == [(1.0, "Rome")]
        assert [letter.offset for letter in t.dead_letters()] == [1]
        assert "ahead of the clock" in t.dead_letters()[0].reason
        assert [row["user"] for row in t.table("users_now").rows()] == ["ann", "bob"]


def test_both_are_taken_in_the_order_of_time_the_table_first() -> None:
    app = flows.App("shop")
    orders = app.topic("a-orders", value=Order, key="user", timestamp="at")
    users = app.topic("users", value=User, key="user", timestamp="at").table("users_now")
    joined = orders.join(users, how="left", suffix="_user")
    with app.test() as t:
        with t.batch():
            for n in range(6):
                t.send(orders, Order("ann", float(n), float(n)))
            for n in (1, 3, 5):
                t.send("users", User("ann", f"city {n}", float(n)))
        assert [city for _, city in cities(t, joined)] == [None, "city 1", "city 1", "city 3", "city 3", "city 5"]


def test_a_versioned_table_is_seen_as_it_was_at_the_records_time() -> None:
    app = flows.App("shop")
    orders = app.topic("orders", value=Order, key="user", timestamp="at")
    users = app.topic("users", value=User, key="user", timestamp="at").table("users_now", versioned="10s")
    joined = orders.join(users, how="left", suffix="_user")
    with app.test() as t:
        for second, city in [(100, "Rome"), (104, "Oslo"), (102, "Bonn"), (108, "Lima")]:
            t.send("users", User("ann", city, float(second)))
        t.rebalance()
        for second in (99, 100, 101, 102, 103, 105, 108, 200):
            t.send(orders, Order("ann", float(second), float(second)))
        seen = dict(cities(t, joined))
        assert [seen[s] for s in (99, 100, 101, 102)] == [None, "Rome", "Rome", "Bonn"]
        assert [seen[s] for s in (103, 105, 108, 200)] == ["Bonn", "Oslo", "Lima", "Lima"]
        assert t.table("users_now").rows() == [{"user": "ann", "city": "Lima", "at": 108.0}]
        t.send("users", User("ann", "Kiev", 130.0))
        t.send("users", User("ann", "Rio", 131.0))
        t.send(orders, Order("ann", 1.0, 104.0))
        assert cities(t, joined) == [(1.0, "Lima")]


def test_aggregates_are_joined_as_of_each_record_of_one_topic_too() -> None:
    app = flows.App("shop")
    orders = app.topic("orders", value=Order, key="user", timestamp="at")
    so_far = orders.group_by("user").agg(n=count(), total=sum("amount")).table("so_far")
    joined = orders.join(so_far)
    with app.test() as t:
        with t.batch():
            for n in range(5):
                t.send(orders, Order(["ann", "bob"][n % 2], 1.0, float(n)))
        t.crash()
        t.send(orders, Order("ann", 5.0, 9.0))
        assert [(r.value["user"], r.value["n"], r.value["total"]) for r in t.output(joined)] == [
            ("ann", 1, 1.0), ("bob", 1, 1.0), ("ann", 2, 2.0), ("bob", 2, 2.0), ("ann", 3, 3.0), ("ann", 4, 8.0)
        ]  # fmt: skip
        assert [(r["user"], r["n"]) for r in t.table(so_far).rows()] == [("ann", 4), ("bob", 2)]


def test_records_are_brought_to_a_table_of_another_key_and_partitions() -> None:
    app = flows.App("shop")
    users = app.topic("users", value=Plain, key="user", partitioned_by="murmur2", partitions=4)
    orders = app.topic("orders", value=Order, timestamp="at", partitions=2)
    joined = orders.join(users.table("users_now"), on="user")
    by_city = joined.group_by("city").agg(total=sum("amount")).table("by_city")
    with app.test() as t:
        for n in range(8):
            t.send(users, Plain(f"u{n}", f"city {n % 3}"))
        t.send(users, None, key="u7")
        for n in range(8):
            t.send(orders, Order(f"u{n}", 1.0, 100.0 + n), partition=n % 2)
        assert [(r["city"], r["total"]) for r in t.table(by_city).rows()] == [
            ("city 0", 3.0),
            ("city 1", 2.0),
            ("city 2", 2.0),
        ]
