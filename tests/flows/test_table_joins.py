"""Tables joined by their keys: what a row is made of, when it goes, and the same however histories are cut."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import polars as pl
import pytest
from hypothesis import given

import flows
from flows import count, last, max, session, sum, tumbling
from flows.brokers.memory import MemoryBroker
from flows.testing import Driver
from tests.drawn import drawn
from tests.flows.histories import CUTS, Reading, group, histories, play
from tests.oracle import aggregates as naive
from tests.oracle.changes import joined
from tests.oracle.tables import Sent, TableOracle

MODEST = drawn(20)
Row = dict[str, Any]


class Order(flows.Record):
    customer: str
    amount: float


class Address(flows.Record):
    customer: str
    city: str | None


class PlacedOrder(Order):
    at: float


class PlacedAddress(Address):
    at: float


def shop(how: str = "inner") -> tuple[flows.Topic, flows.Topic, flows.Table]:
    app = flows.App("shop")
    orders = app.topic("orders", value=Order, key="customer")
    addresses = app.topic("addresses", value=Address, key="customer")
    spent = orders.group_by("customer").agg(spent=sum("amount")).table("spent")
    homes = addresses.group_by("customer").agg(city=last("city")).table("homes")
    return orders, addresses, spent.join(homes, how=how, name="customers")


def order(customer: str, amount: float = 1.0) -> Row:
    return {"customer": customer, "amount": amount}


def address(customer: str, city: str | None) -> Row:
    return {"customer": customer, "city": city}


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("inner", [("ann", 1.0, "Oslo")]),
        ("left", [("ann", 1.0, "Oslo"), ("bob", 2.0, None)]),
        ("outer", [("ann", 1.0, "Oslo"), ("bob", 2.0, None), ("cid", None, "Rome")]),
    ],
)
def test_which_rows_there_are(how: str, expected: list[tuple[Any, ...]]) -> None:
    orders, addresses, customers = shop(how)
    with orders.app.test() as t:
        t.send(addresses, address("ann", "Oslo"))
        t.send(orders, order("ann"))
        t.send(orders, order("bob", 2.0))
        t.send(addresses, address("cid", "Rome"))
        assert [tuple(row.values()) for row in t.table(customers).rows()] == expected


def test_a_join_changes_with_both_sides_once_a_commit() -> None:
    orders, addresses, customers = shop()
    cities = customers.group_by("city").agg(customers=count(), spent=sum("spent")).table("cities")
    out = orders.app.topic("out", value=dict)
    customers.to(out)
    with orders.app.test() as t:
        with t.batch():
            t.send(orders, order("ann"))
            t.send(addresses, address("ann", "Oslo"))
            t.send(orders, order("ann"))
        t.send(addresses, address("bob", "Oslo"))
        t.send(orders, order("bob", 5.0))
        t.crash()
        t.send(addresses, address("ann", "Rome"))
        rows = [(r.key, r.value["spent"], r.value["city"]) for r in t.output(out)]
        assert rows == [("ann", 2.0, "Oslo"), ("bob", 5.0, "Oslo"), ("ann", 2.0, "Rome")]
        assert [tuple(row.values()) for row in t.table(cities).rows()] == [("Oslo", 1, 5.0), ("Rome", 1, 2.0)]


def test_a_column_that_is_null_throughout_has_its_type_in_sql_still() -> None:
    orders, _, customers = shop("left")
    with orders.app.test() as t:
        t.send(orders, order("ann"))
        decoder = t._env.decoders[customers.name]
        entries = [row for task in t._tasks if task.state for row in task.state.scan(customers.name)]
        assert decoder.frame(entries).schema["city"] == pl.String


def test_joins_of_joins_and_of_windows() -> None:
    app = flows.App("o")
    topic = app.topic("readings", value=Reading, key="key", timestamp="at")
    window = tumbling("10s", retention="20s")
    counts = topic.window(window).agg(n=count()).table("counts")
    sums = topic.window(window).agg(n=sum("n")).table("sums")
    largest = topic.window(tumbling("10s")).agg(most=max("n")).table("largest")
    both = counts.join(sums, suffix="_sum")
    three = both.join(largest, how="outer", name="three")
    with app.test() as t:
        for second in range(0, 60, 10):
            t.send(topic, {"key": "a", "other": None, "n": second, "x": None, "text": None}, at=float(second))
        expected = [(float(s), 1, s, s) for s in (30, 40, 50)]
        assert len(t.table(largest)) == 6
        rows = t.table(three).rows()
        assert [(r["window_start"], r["n"], r["n_sum"], r["most"]) for r in rows] == expected


def test_what_is_late_for_a_side_is_late_for_the_join() -> None:
    app = flows.App("shop")
    orders, addresses = (
        app.topic(name, value=value, key="customer", timestamp="at", partitions=2, partitioned_by="murmur2")
        for name, value in (("orders", PlacedOrder), ("addresses", PlacedAddress))
    )
    spent = orders.window(tumbling("10s")).agg(spent=sum("amount")).table("spent")
    homes = addresses.window(tumbling("10s")).agg(city=last("city")).table("homes")
    customers = spent.join(homes, name="customers")
    again = customers.join(spent, suffix="_again", name="again")
    seen = []

    @app.agent(customers.late)
    async def look(late: Any) -> None:
        async for value in late:
            seen.append(value)

    with app.test() as t:
        for at in (5.0, 25.0, 6.0):
            t.send(orders, PlacedOrder("ann", 1.0, at))
            t.send(addresses, PlacedAddress("ann", "Oslo", at + 1))
        of_order, of_address = (
            {"customer": "ann", "amount": 1.0, "at": 6.0},
            {"customer": "ann", "city": "Oslo", "at": 7.0},
        )
        assert [(r.key, r.value, r.windows) for r in t.late(spent)] == [("ann", of_order, [0.0])]
        assert [(r.value, r.windows) for r in t.late(customers)] == [(of_order, [0.0]), (of_address, [0.0])]
        assert sorted(seen, key=str) == sorted([of_order, of_address], key=str)
        assert len(t.late(again)) == 2


def test_a_join_of_tables_that_have_rows_begins_with_these() -> None:
    broker = MemoryBroker()

    def declare() -> tuple[flows.Topic, flows.Topic, flows.Table, flows.Table]:
        app = flows.App("shop")
        orders = app.topic("orders", value=Order, key="customer")
        addresses = app.topic("addresses", value=Address, key="customer")
        spent = orders.group_by("customer").agg(spent=sum("amount")).table("spent")
        return orders, addresses, spent, addresses.group_by("customer").agg(city=last("city")).table("homes")

    orders, addresses, *_ = declare()
    with Driver(orders.app, broker=broker) as t:
        for name in ("ann", "bob"):
            t.send(orders, order(name))
            t.send(addresses, address(name, "Oslo"))
    orders, _, spent, homes = declare()
    customers = spent.join(homes)
    with Driver(orders.app, broker=broker) as t:
        t.send(orders, order("cid"))
        assert [r["customer"] for r in t.table(customers).rows()] == ["ann", "bob"]


def tables(topic: flows.Topic) -> dict[str, flows.Table]:
    """Two tables of one topic's key, the second of fewer records; of groups behind repartitions; of sessions."""
    large = topic.filter(flows.col("n") > 0)
    return {
        "a": topic.group_by("key").agg(n=count(), x=max("x")).table("a"),
        "b": large.group_by("key").agg(n=sum("n")).table("b"),
        "c": topic.group_by("other").agg(n=count(), x=max("x")).table("c"),
        "d": large.group_by("other").agg(n=sum("n")).table("d"),
    }


@pytest.mark.parametrize("sides", ["ab", "cd", "ba", "dc"])
@pytest.mark.parametrize("how", ["inner", "left", "outer"])
@MODEST
@given(histories(2), CUTS)
def test_joins_are_what_their_sides_are(sides: str, how: str, history: list[Sent], cuts: list[str]) -> None:
    app = flows.App("o")
    topic = app.topic("readings", value=Reading, key="key", timestamp="at", partitions=2)
    declared = tables(topic)
    join = declared[sides[0]].join(declared[sides[1]], how=how, suffix="_right", name="join")
    key = "key" if "a" in sides else "other"

    def oracle(letter: str) -> dict[Any, Row]:
        keep: Callable[[Row], bool] = lambda fields: letter in "ac" or (fields["n"] or 0) > 0  # noqa: E731
        whole: dict[str, Any] = {"n": partial(naive.count, column=None), "x": partial(naive.largest, column="x")}
        found = TableOracle([key], None, whole if letter in "ac" else {"n": partial(naive.total, column="n")}, keep)
        for sent in history:
            found.add(sent)
        return {place.key[0]: row for place, row in found.rows().items()}

    names = [("n", "x") if letter in "ac" else ("n",) for letter in sides]
    expected = joined(oracle(sides[0]), oracle(sides[1]), how, *names)
    with app.test() as t:
        play(t, topic, history, cuts)
        found = {row.pop(key): row for row in t.table(join).rows()}
        assert found == expected
        latest = {change.key: change.value for change in t.output(join)}
        assert {k: {n: v[n] for n in v if n != key} for k, v in latest.items() if v is not None} == expected


@MODEST
@given(histories(2), CUTS)
def test_joined_sessions_are_those_of_both_sides(history: list[Sent], cuts: list[str]) -> None:
    app = flows.App("o")
    topic = app.topic("readings", value=Reading, key="key", timestamp="at", partitions=2)
    left = topic.window(session("6s", grace="9s")).agg(n=count()).table("left")
    right = topic.window(session("6s", grace="9s", emit="close")).agg(most=max("n")).table("right")
    join = left.join(right, how="left", name="join")
    with app.test() as t:
        play(t, topic, history, cuts)
        rows = [{group(row, table.keys): row for row in t.table(table).rows()} for table in (left, right, join)]
        assert rows[2] == {
            place: {**row, "most": rows[1][place]["most"] if place in rows[1] else None}
            for place, row in rows[0].items()
        }
