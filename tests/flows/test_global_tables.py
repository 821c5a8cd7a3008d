"""Global tables: whole on every worker, joined by any key, read by agents."""

from __future__ import annotations

import pytest

import flows
from flows import col
from flows.testing import Driver


class Rate(flows.Record):
    currency: str
    euros: float


class Order(flows.Record):
    user: str
    paid_in: str | None
    amount: float


class Part(flows.Record):
    name: str


class Thing(flows.Record):
    id: int
    parts: list[Part]


class Shop:
    """Two partitions of orders, three of rates."""

    def __init__(self) -> None:
        self.app = flows.App("shop")
        self.changes = self.app.topic("rate-changes", value=Rate, key="currency", partitions=3)
        self.rates = self.app.global_table("rates", self.changes)
        self.orders = self.app.topic("orders", value=Order, key="user", partitions=2)


def priced(t: Driver, stream: flows.Stream) -> list[tuple[float, float | None]]:
    return sorted((r.value["amount"], r.value["euros"]) for r in t.output(stream))


def test_a_record_meets_the_row_that_its_expression_names_in_whichever_partition() -> None:
    shop = Shop()
    left = shop.orders.join(shop.rates, on=col("paid_in").upper(), how="left")
    inner = shop.orders.join(shop.rates, on="paid_in", name="known")
    with shop.app.test() as t:
        for n, currency in enumerate(("USD", "NOK", "GBP", "SEK", "JPY")):
            t.send(shop.changes, Rate(currency, n + 1.0))
        for n, (user, paid_in) in enumerate(
            [("ann", "usd"), ("bob", "NOK"), ("cy", "nok"), ("di", None), ("eve", "XX")]
        ):
            t.send(shop.orders, Order(user, paid_in, float(n)))
        assert priced(t, left) == [(0.0, 1.0), (1.0, 2.0), (2.0, 2.0), (3.0, None), (4.0, None)]
        assert priced(t, inner) == [(1.0, 2.0)]
        assert t.metrics.refused == {("known", "skip"): 1}


def test_rows_change_and_go_and_come_back_after_a_crash_and_on_an_empty_disk() -> None:
    shop = Shop()
    joined = shop.orders.join(shop.rates, on="paid_in", how="left")
    with shop.app.test() as t:
        t.send(shop.changes, Rate("USD", 1.0))
        t.send(shop.changes, Rate("NOK", 2.0))
        t.send(shop.orders, Order("ann", "USD", 1.0))
        t.crash()
        t.send(shop.changes, Rate("USD", 3.0))
        t.send(shop.orders, Order("ann", "USD", 2.0))
        t.rebalance()
        t.send(shop.orders, Order("ann", "USD", 3.0))
        t.send(shop.changes, None, key="USD")
        t.send(shop.orders, Order("ann", "USD", 4.0))
        t.rebalance()
        t.send(shop.orders, Order("ann", "USD", 5.0))
        assert priced(t, joined) == [(1.0, 1.0), (2.0, 3.0), (3.0, 3.0), (4.0, None), (5.0, None)]
        assert t.table(shop.rates).rows() == [{"currency": "NOK", "euros": 2.0}]
        assert t.table(shop.rates).get("NOK") == {"currency": "NOK", "euros": 2.0}
        assert [(c.key, c.value) for c in t.output(shop.rates)][-2:] == [
            ("USD", {"currency": "USD", "euros": 3.0}),
            ("USD", None),
        ]


def test_agents_and_timers_read_all_of_it() -> None:
    shop = Shop()
    rates, seen = shop.rates, shop.app.topic("seen", value=dict)
    ticks: list[int] = []

    @shop.app.agent(shop.orders, sink=[seen])
    async def price(stream):  # type: ignore[no-untyped-def]
        async for order in stream:
            found = rates.get(order.paid_in) if order.paid_in else None
            yield {
                "euros": rates[order.paid_in].euros if order.paid_in in rates else None,
                "same": found is None or found is rates[found.currency],
                "all": [(key, rate.euros) for key, rate in rates.items()],
                "keys": sorted(rates), "count": len(rates), "sum": sum(r.euros for r in rates.values()),
            }  # fmt: skip

    @shop.app.timer("10s")
    async def look() -> None:
        ticks.append(len(rates))

    with shop.app.test() as t:
        t.send(shop.changes, Rate("USD", 1.0))
        t.send(shop.changes, Rate("NOK", 2.0))
        t.send(shop.orders, Order("ann", "NOK", 1.0))
        t.send(shop.orders, Order("bob", "USD", 1.0))
        t.send(shop.orders, Order("bob", "CHF", 1.0))
        t.advance("10s")
        found = [r.value for r in t.output(seen)]
        assert sorted([r["euros"] or 0.0 for r in found]) == [0.0, 1.0, 2.0]
        assert all(r["same"] and r["all"] == [["NOK", 2.0], ["USD", 1.0]] for r in found)
        assert all((r["keys"], r["count"], r["sum"]) == (["NOK", "USD"], 2, 3.0) for r in found)
        assert ticks == [2]


def test_an_agent_writes_it_by_its_topic() -> None:
    shop = Shop()
    rates, changes = shop.rates, shop.changes

    @shop.app.agent(shop.orders)
    async def learn(stream):  # type: ignore[no-untyped-def]
        async for order in stream:
            known = rates.get(order.paid_in)
            await changes.send(Rate(order.paid_in, order.amount + (known.euros if known else 0.0)))

    with shop.app.test() as t:
        for amount in (1.0, 2.0, 3.0):
            t.send(shop.orders, Order("ann", "NOK", amount))
            t.crash()
        assert t.table(rates).rows() == [{"currency": "NOK", "euros": 6.0}]


def test_a_record_without_a_key_is_refused_where_it_is_sent() -> None:
    shop = Shop()
    changes = shop.changes

    @shop.app.agent(shop.orders, retries=0)
    async def forget(stream):  # type: ignore[no-untyped-def]
        async for _ in stream:
            await changes.send(None)

    with shop.app.test() as t:
        t.send(shop.orders, Order("ann", "NOK", 1.0))
        (letter,) = t.dead_letters()
        assert "topic 'rate-changes' is read as a global table: a record without a key is no row" in letter.reason


def test_nobody_writes_to_it_otherwise_and_nobody_reads_it_from_outside() -> None:
    shop = Shop()
    rates = shop.rates
    for write in (lambda: rates.__setitem__("NOK", 1.0), lambda: rates.__delitem__("NOK")):
        with pytest.raises(RuntimeError, match=r"write to the topic, await rate-changes\.send\("):
            write()
    with pytest.raises(RuntimeError, match="functions of a running worker only"):
        _ = rates["NOK"]


def test_a_key_of_another_type_is_told() -> None:
    shop = Shop()
    rates = shop.rates

    @shop.app.agent(shop.orders, retries=0)
    async def wrong(stream):  # type: ignore[no-untyped-def]
        async for _ in stream:
            _ = rates[7]

    with shop.app.test() as t:
        t.send(shop.orders, Order("ann", "NOK", 1.0))
        assert "table 'rates': key 7 is int" in t.dead_letters()[0].reason


def test_what_is_no_row_is_counted_and_leaves_the_older_one() -> None:
    shop = Shop()
    with shop.app.test() as t:
        t.send(shop.changes, Rate("NOK", 1.0))
        t.send(shop.changes, b"{", key="NOK")
        t.send(shop.changes, Rate("USD", 1.0), key="other")
        assert t.table(shop.rates).rows() == [{"currency": "NOK", "euros": 1.0}]
        assert sum(t.metrics.refused.values()) == 2
        assert t.dead_letters() == []


def test_a_record_that_changed_is_read_from_the_topic_again() -> None:
    class Wider(flows.Record):
        currency: str
        euros: float
        since: int = 0

    first = Shop()
    with first.app.test() as t:
        t.send(first.changes, Rate("NOK", 1.0))
        broker, stores = t._broker, t._stores
    second = flows.App("shop")
    rates = second.global_table("rates", second.topic("rate-changes", value=Wider, key="currency", partitions=3))
    with Driver(second, broker=broker, stores=stores) as t:
        assert t.table(rates).rows() == [{"currency": "NOK", "euros": 1.0, "since": 0}]


def test_records_keep_their_partitions_and_keys_behind_the_join() -> None:
    shop = Shop()
    joined = shop.orders.join(shop.rates, on="paid_in")
    spent = joined.group_by("user").agg(euros=flows.sum("euros")).table("spent")
    with shop.app.test() as t:
        t.send(shop.changes, Rate("NOK", 2.0))
        for n in range(6):
            t.send(shop.orders, Order(f"u{n % 3}", "NOK", 1.0))
            if n == 3:
                t.crash()
        assert [r["euros"] for r in t.table(spent).rows()] == [4.0, 4.0, 4.0]
    assert not any("repartition" in step for step in shop.app.plan().nodes)


def test_values_of_classes_come_back_as_such() -> None:
    app = flows.App("things")
    things = app.topic("things", value=Thing, key="id")
    known = app.global_table("known", things)
    asks = app.topic("asks", value=dict)
    got: list[Thing] = []

    @app.agent(asks)
    async def look(stream):  # type: ignore[no-untyped-def]
        async for ask in stream:
            got.append(known[ask["id"]])

    with app.test() as t:
        t.send(things, Thing(7, [Part("a")]))
        t.send(asks, {"id": 7})
        t.rebalance()
        t.send(asks, {"id": 7})
        assert got == [Thing(7, [Part("a")])] * 2
        t.send(things, None, key=7)
        assert len(t.table(known)) == 0
