"""Two streams joined in a window: what a person sees of it."""

from __future__ import annotations

from typing import Any

import pytest

import flows
from flows import col, count, tumbling
from flows.errors import FlowsError
from flows.route.partitioner import Partitioner
from flows.testing import Driver


class Order(flows.Record):
    user: str | None
    amount: float
    at: float | None


class Payment(flows.Record):
    user: str | None
    paid: float
    at: float | None


class Shop:
    """Orders and payments."""

    def __init__(self, partitions: int = 1) -> None:
        self.app = flows.App("shop", partitions=partitions)
        self.orders = self.app.topic("orders", value=Order, key="user", timestamp="at")
        self.payments = self.app.topic("payments", value=Payment, key="user", timestamp="at")

    def joined(self, how: str = "inner", **options: Any) -> flows.Stream:
        within = {"within": "5s"} if "before" not in options else {}
        return self.orders.join(self.payments, how=how, suffix="_paid", **within, **options)


def pairs(t: Driver, stream: flows.Stream) -> list[tuple[str | None, float | None, float | None, float]]:
    return [(r.value["user"], r.value["amount"], r.value["paid"], r.timestamp) for r in t.output(stream)]


def test_a_pair_comes_at_once_with_the_later_time() -> None:
    shop = Shop()
    joined = shop.joined()
    with shop.app.test() as t:
        t.send(shop.orders, Order("ann", 1.0, 100.0))
        t.send(shop.payments, Payment("ann", 2.0, 105.0))
        t.send(shop.payments, Payment("ann", 3.0, 105.5))
        t.send(shop.orders, Order("ann", 4.0, 103.0))
        assert pairs(t, joined) == [("ann", 1.0, 2.0, 105.0), ("ann", 4.0, 2.0, 105.0), ("ann", 4.0, 3.0, 105.5)]


def test_what_waited_in_vain_comes_alone_when_its_window_has_closed() -> None:
    shop = Shop()
    joined = shop.joined("outer")
    with shop.app.test() as t:
        t.send(shop.orders, Order("ann", 1.0, 100.0))
        t.send(shop.payments, Payment("bob", 2.0, 101.0))
        t.send(shop.orders, Order("ann", 3.0, 106.5))
        assert pairs(t, joined) == []
        t.send(shop.payments, Payment("ann", 4.0, 106.0))
        t.crash()
        assert pairs(t, joined) == [("ann", 1.0, None, 100.0), ("ann", 3.0, 4.0, 106.5)]
        t.advance("1m")
        assert pairs(t, joined) == [("bob", None, 2.0, 101.0)]


def test_behind_a_join_windows_find_no_record_late_that_waited() -> None:
    shop = Shop()
    joined = shop.joined("left")
    table = joined.window(tumbling("5s", emit="close")).agg(n=count(), unpaid=count("paid")).table("t")
    with shop.app.test() as t:
        for second in range(100, 130):
            t.send(shop.orders, Order("ann", 1.0, float(second)))
        t.send(shop.payments, Payment("bob", 1.0, 129.0))
        assert [(r["window_start"], r["n"]) for r in t.table(table).rows()] == [
            (100.0, 5),
            (105.0, 5),
            (110.0, 5),
            (115.0, 5),
        ]
        t.advance("1m")
        assert [r["n"] for r in t.table(table).rows()] == [5] * 6
        assert t.late(table) == []


@pytest.mark.parametrize("how", ["inner", "left", "outer"])
def test_sides_with_other_keys_and_partitions_meet_behind_repartitions(how: str) -> None:
    app = flows.App("two")
    orders = app.topic("orders", value=Order, timestamp="at", partitions=3)
    payments = app.topic("payments", value=Payment, timestamp="at", partitions=2)
    big = orders.filter(col("amount") >= 0)
    joined = big.join(payments, on="user", within="5s", how=how, suffix="_paid")
    total = joined.group_by("user").agg(n=count(), paid=flows.sum("paid")).table("total")
    with app.test() as t:
        for n in range(12):
            t.send(orders, Order(f"user {n % 4}", float(n), 100.0 + n), partition=n % 3)
            t.send(payments, Payment(f"user {n % 4}", 1.0, 100.0 + n), partition=n % 2)
        assert "total.group_by" not in app.plan().nodes
        t.advance("1m")
        rows = {r["user"]: (r["n"], r["paid"]) for r in t.table(total).rows()}
        assert rows == {f"user {n}": (7, 7.0) for n in range(4)}


def test_a_record_that_comes_behind_its_own_window_is_late() -> None:
    shop = Shop()
    joined = shop.joined(grace="2s")
    with shop.app.test() as t:
        t.send(shop.payments, Payment("ann", 1.0, 200.0))
        t.send(shop.orders, Order("ann", 1.0, 200.0))
        t.send(shop.orders, Order("ann", 2.0, 193.0))
        t.send(shop.orders, Order("ann", 3.0, 192.5))
        t.send(shop.payments, Payment("ann", 3.0, 192.5))
        assert [(r.key, r.timestamp, r.windows) for r in t.late(joined)] == [
            ("ann", 192.5, [187.5]),
            ("ann", 192.5, [187.5]),
        ]


def test_null_keys_match_nothing() -> None:
    shop = Shop()
    inner, left = shop.joined(name="inner"), shop.joined("left", name="left")
    with shop.app.test() as t:
        t.send(shop.payments, Payment(None, 1.0, 100.0))
        t.send(shop.orders, Order(None, 1.0, 100.0))
        assert pairs(t, inner) == []
        assert pairs(t, left) == [(None, 1.0, None, 100.0)]
        assert t.metrics.refused == {("inner", "skip"): 2, ("left", "skip"): 1}


def test_a_topic_with_another_partitioner_than_it_says_is_noticed() -> None:
    app = flows.App("two", partitions=3)
    orders = app.topic("orders", value=Order, key="user", timestamp="at", partitioned_by="murmur2")
    payments = app.topic("payments", value=Payment, key="user", timestamp="at", partitioned_by="murmur2")
    joined = orders.join(payments, within="5s", suffix="_paid")
    assert app.plan().subtopologies[0].inputs == ("orders", "payments")
    with app.test() as t:
        t.send(orders, Order("ann", 1.0, 100.0))
        t.send(payments, Payment("ann", 2.0, 100.0))
        assert pairs(t, joined) == [("ann", 1.0, 2.0, 100.0)]
        elsewhere = (Partitioner(3).of(b"bob") + 1) % 3
        with pytest.raises(FlowsError, match="another partitioner"):
            t.send(payments, Payment("bob", 2.0, 100.0), partition=elsewhere)


def test_an_agent_takes_what_comes_of_a_join_through_crashes() -> None:
    shop = Shop()
    joined = shop.joined("left")
    out = shop.app.topic("out", value=dict)

    @shop.app.agent(joined, sink=[out])
    async def in_twos(stream: Any) -> Any:
        async for rows in stream.take(2, within="1h"):
            yield {"rows": [(row.amount, row.paid) for row in rows]}

    with shop.app.test() as t:
        t.send(shop.orders, Order("ann", 1.0, 100.0))
        t.send(shop.payments, Payment("ann", 2.0, 101.0))
        t.crash()
        t.send(shop.payments, Payment("ann", 3.0, 102.0))
        t.send(shop.orders, Order("bob", 4.0, 103.0))
        t.rebalance()
        t.advance("1m")
        t.send(shop.payments, Payment("cy", 5.0, 300.0))
        t.send(shop.orders, Order("cy", 6.0, 301.0))
        assert [r.value["rows"] for r in t.output(out)] == [[[1.0, 2.0], [1.0, 3.0]], [[4.0, None], [6.0, 5.0]]]
