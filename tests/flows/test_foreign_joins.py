"""Tables joined by a column of the left one: answers of other tasks, stale ones dropped, however histories are cut."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from flows import col, count, last, sum
from flows.testing import Driver
from tests.drawn import drawn
from tests.flows.histories import CUTS

MODEST = drawn(20)
Row = dict[str, Any]


class Order(flows.Record):
    order: str
    customer: str | None
    amount: int


class Customer(flows.Record):
    customer: str
    city: str | None
    gone: bool = False


class Shop:
    """Orders of some partitions, customers of others, and their join."""

    def __init__(self, how: str) -> None:
        self.app = app = flows.App("shop")
        self.orders = app.topic("orders", value=Order, key="order", partitions=2)
        self.customers = app.topic("customers", value=Customer, key="customer", partitions=3)
        latest = self.orders.group_by("order").agg(customer=last("customer"), amount=last("amount")).table("latest")
        # A table that loses rows: a customer is there while some of its addresses are.
        moves = self.customers.with_columns(by=col("customer"))
        homes = moves.group_by("by").agg(city=last("city"), gone=last("gone")).table("homes")
        here = homes.group_by("by", partitions=3).agg(moves=count(), gone=sum(col("gone").cast(int))).table("here")
        self.join = latest.join(homes, on="customer", how=how, name="customers_of_orders")
        self.counted = latest.join(here, on="customer", how=how, name="counted")
        self.cities = self.join.group_by("city").agg(orders=count(), amount=sum("amount")).table("cities")


def shop(how: str = "inner") -> Shop:
    return Shop(how)


def order(name: str, customer: str | None, amount: int = 1) -> Row:
    return {"order": name, "customer": customer, "amount": amount}


def customer(name: str, city: str | None) -> Row:
    return {"customer": name, "city": city}


def rows(t: Driver, table: flows.Table) -> list[tuple[Any, ...]]:
    return sorted((tuple(row.values()) for row in t.table(table).rows()), key=str)


def test_a_row_follows_what_it_refers_to() -> None:
    s = shop("left")
    with s.app.test() as t:
        t.send(s.orders, order("1", "ann"))
        t.send(s.orders, order("2", None))
        assert rows(t, s.join) == [("1", "ann", 1, None, None), ("2", None, 1, None, None)]
        t.send(s.customers, customer("ann", "Oslo"))
        t.crash()
        t.send(s.orders, order("2", "ann", 5))
        assert rows(t, s.join) == [("1", "ann", 1, "Oslo", False), ("2", "ann", 5, "Oslo", False)]
        t.rebalance()
        t.send(s.customers, customer("ann", "Rome"))
        t.send(s.orders, order("1", "bob"))
        assert rows(t, s.join) == [("1", "bob", 1, None, None), ("2", "ann", 5, "Rome", False)]
        assert rows(t, s.cities) == [("Rome", 1, 5)]


def test_an_inner_join_has_rows_with_both_halves_only() -> None:
    s = shop()
    with s.app.test() as t:
        t.send(s.orders, order("1", "ann"))
        assert rows(t, s.join) == []
        t.send(s.customers, customer("ann", "Oslo"))
        assert rows(t, s.join) == [("1", "ann", 1, "Oslo", False)]
        t.send(s.orders, order("1", None))
        assert rows(t, s.join) == []
        assert [(c.key, c.value is None) for c in t.output(s.join)] == [("1", False), ("1", True)]


def test_an_answer_for_what_the_row_no_longer_is_is_dropped() -> None:
    """The tasks that have ann stop; the order goes on to bob; then they answer, record by record."""
    s = shop("left")
    with s.app.test() as t:
        t._env.chunk = t._env.commit_rows = 1
        t.rebalance()
        t.send(s.customers, customer("ann", "Oslo"))
        t.send(s.customers, customer("bob", "Rome"))
        (ann,) = (task for task in t._tasks if task.holds("homes") and "ann" in _keys(task))
        assert "bob" not in _keys(ann)
        t._tasks.remove(ann)
        t.send(s.orders, order("1", "ann"))
        t.send(s.orders, order("1", "bob"))
        assert rows(t, s.join) == [("1", "bob", 1, "Rome", False)]
        before = ann.metrics.records
        t._tasks.append(ann)
        t.advance("1s")
        assert ann.metrics.records > before
        assert rows(t, s.join) == [("1", "bob", 1, "Rome", False)]


def _keys(task: Any) -> list[str]:
    decoder = task.env.decoders["homes"]
    return [row["by"] for row in decoder.rows(list(task.state.scan("homes")))]


_ORDERS = st.tuples(st.sampled_from("123"), st.sampled_from(["ann", "bob", "cid", None]), st.integers(0, 3))
_CUSTOMERS = st.tuples(st.sampled_from(["ann", "bob", "cid"]), st.sampled_from(["Oslo", "Rome", None]))
_HISTORY = st.lists(_ORDERS | _CUSTOMERS, max_size=25)


@pytest.mark.parametrize("how", ["inner", "left"])
@MODEST
@given(_HISTORY, CUTS)
def test_joins_are_what_their_sides_are(how: str, history: list[tuple[Any, ...]], cuts: list[str]) -> None:
    s = shop(how)
    orders: dict[str, tuple[Any, ...]] = {}
    homes: dict[str, str | None] = {}
    moves: dict[str, int] = {}
    for event in history:
        if len(event) == 3:
            orders[event[0]] = event
        else:
            homes[event[0]] = event[1]
            moves[event[0]] = 1
    joined = [(*o, homes.get(o[1]), False if o[1] in homes else None) for o in orders.values()]
    counted = [(*o, moves.get(o[1]), 0 if o[1] in moves else None) for o in orders.values()]
    kept = [how == "left" or o[1] in homes for o in orders.values()]
    cities: dict[str, list[int]] = {}
    for row, there in zip(joined, kept, strict=True):
        if there and row[3] is not None:
            cities.setdefault(row[3], []).append(row[2])
    with s.app.test() as t:
        _play(t, s, history, cuts)
        assert rows(t, s.join) == sorted((r for r, there in zip(joined, kept, strict=True) if there), key=str)
        assert rows(t, s.counted) == sorted((r for r, there in zip(counted, kept, strict=True) if there), key=str)
        assert rows(t, s.cities) == sorted((city, len(a), _total(a)) for city, a in cities.items())
        latest = {c.key: c.value for c in t.output(s.join)}
        assert {k for k, v in latest.items() if v is not None} == {r[0] for r in rows(t, s.join)}


def _total(amounts: list[int]) -> int:
    found = 0
    for amount in amounts:
        found += amount
    return found


def _play(t: Driver, s: Shop, history: list[tuple[Any, ...]], cuts: list[str]) -> None:
    t._env.chunk, t._env.fetch_records, t._env.commit_rows = 1 + len(cuts) % 3, 1 + len(cuts) % 4, 1 + len(cuts) * 2
    t.rebalance()
    left, turn = list(history), 0
    while left:
        cut = cuts[turn % len(cuts)] if cuts else "one"
        turn += 1
        length = 1 + turn % 5 if "batch" in cut else 1
        with t.batch():
            for event in left[:length]:
                if len(event) == 3:
                    t.send(s.orders, order(*event))
                else:
                    t.send(s.customers, customer(*event))
            if cut == "crash in batch":
                t.crash()
        left = left[length:]
        if cut in ("crash", "rebalance"):
            getattr(t, cut)()
