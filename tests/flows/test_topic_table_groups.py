"""Topics read as tables, grouped by other columns and joined: removals are nulls in the topic."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from flows import count, mean, sum
from flows.testing import Driver
from tests.drawn import drawn
from tests.flows.histories import CUTS

MODEST = drawn(12)


class Order(flows.Record):
    order: str
    customer: str | None
    amount: float


class Customer(flows.Record):
    customer: str
    city: str


class Shop:
    """Orders and customers as tables, grouped and joined."""

    def __init__(self, versioned: str | None = None) -> None:
        self.app = app = flows.App("shop")
        self.orders = app.topic("orders", value=Order, key="order", partitions=2)
        self.customers = app.topic("customers", value=Customer, key="customer", partitions=3, partitioned_by="murmur2")
        latest = self.orders.table("latest", versioned=versioned)
        homes = self.customers.table("homes")
        self.spent = (
            latest.group_by("customer").agg(orders=count(), spent=sum("amount"), mean=mean("amount")).table("spent")
        )
        self.placed = latest.join(homes, on="customer", how="left", name="placed")
        self.inner = latest.join(homes, on="customer", name="inner")


def rows(t: Driver, table: flows.Table) -> list[tuple[Any, ...]]:
    return sorted((tuple(row.values()) for row in t.table(table).rows()), key=str)


def test_a_null_takes_a_row_from_its_group_and_its_joins() -> None:
    s = Shop()
    with s.app.test() as t:
        t.send(s.orders, {"order": "1", "customer": "ann", "amount": 0.1})
        t.send(s.orders, {"order": "2", "customer": "ann", "amount": 0.2})
        t.send(s.customers, {"customer": "ann", "city": "Oslo"})
        assert rows(t, s.spent) == [("ann", 2, 0.30000000000000004, 0.15000000000000002)]
        assert rows(t, s.inner) == [("1", "ann", 0.1, "Oslo"), ("2", "ann", 0.2, "Oslo")]
        t.crash()
        t.send(s.orders, None, key="1", partition=0)
        t.send(s.orders, None, key="1", partition=1)
        assert rows(t, s.spent) == [("ann", 1, 0.2, 0.2)]
        t.send(s.customers, None, key="ann")
        assert rows(t, s.inner) == []
        assert rows(t, s.placed) == [("2", "ann", 0.2, None)]
        t.send(s.orders, {"order": "2", "customer": "bob", "amount": 1.0})
        assert rows(t, s.spent) == [("bob", 1, 1.0, 1.0)]


_ORDERS = st.tuples(
    st.sampled_from("123"), st.none() | st.tuples(st.sampled_from(["ann", "bob", None]), st.floats(-9, 9))
)
_CUSTOMERS = st.tuples(st.sampled_from(["ann", "bob"]), st.sampled_from(["Oslo", "Rome", None]))


@pytest.mark.parametrize("versioned", [None, "1h"])
@MODEST
@given(st.lists(_ORDERS | _CUSTOMERS, max_size=25), CUTS)
def test_they_are_what_the_topics_say_last(
    versioned: str | None, history: list[tuple[Any, Any]], cuts: list[str]
) -> None:
    s = Shop(versioned)
    orders: dict[str, tuple[str | None, float]] = {}
    homes: dict[str, str] = {}
    for key, value in history:
        side: dict[str, Any] = orders if key in "123" else homes
        side.pop(key, None)
        if value is not None:
            side[key] = value
    with s.app.test() as t:
        t._env.chunk, t._env.commit_rows = 1 + len(cuts) % 3, 1 + len(cuts) * 2
        t.rebalance()
        for turn, (key, value) in enumerate(history):
            cut = cuts[turn % len(cuts)] if cuts else "one"
            with t.batch():
                if key not in "123":
                    t.send(s.customers, value and {"customer": key, "city": value}, key=key, at=100.0 + turn)
                else:
                    made = value and {"order": key, "customer": value[0], "amount": value[1]}
                    t.send(s.orders, made, key=key, at=100.0 + turn)
                if cut == "crash in batch":
                    t.crash()
            if cut in ("crash", "rebalance"):
                getattr(t, cut)()
        joined = [(key, who, amount, homes.get(who or "")) for key, (who, amount) in orders.items()]
        assert rows(t, s.placed) == sorted(joined, key=str)
        assert rows(t, s.inner) == sorted((row for row in joined if row[3] is not None), key=str)
        counts = {who: [w for w, _ in orders.values()].count(who) for who, _ in orders.values() if who is not None}
        assert {row[0]: row[1] for row in rows(t, s.spent)} == counts
