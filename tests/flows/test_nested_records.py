"""A Record in a field of a Record is one wherever it is read: behind stores and internal topics too."""

from __future__ import annotations

import enum
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

import flows
from flows import col, count, fold
from flows.errors import IncompatibleState
from flows.testing import Driver


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


class Line(flows.Record):
    what: str
    price: Decimal
    size: Size = Size.SMALL


class Order(flows.Record):
    user: str
    first: Line
    lines: list[Line]
    at: float


class Address(flows.Record):
    town: str


class Home(flows.Record):
    user: str
    address: Address | None
    at: float


class Summed(flows.Record):
    total: Decimal


class Seen(flows.Record):
    user: str
    line: Line


FIRST, SECOND = Line("tea", Decimal("1.50"), Size.LARGE), Line("cup", Decimal(7))
HERE = Address("Ulm")


class Shop:
    def __init__(self) -> None:
        self.app = app = flows.App("shop")
        keyed: dict[str, Any] = {"key": "user", "timestamp": "at", "partitioned_by": "murmur2"}
        self.orders = app.topic("orders", value=Order, **keyed)
        self.homes = app.topic("homes", value=Home, **keyed)

    def window(self) -> flows.Stream:
        return self.orders.join(self.homes, within=100, how="outer", suffix="_home")

    def asof(self) -> flows.Stream:
        return self.orders.join_asof(self.homes, tolerance=100, suffix="_home")

    def table(self) -> flows.Stream:
        return self.orders.join(self.homes.table("latest"), suffix="_home")

    def versioned(self) -> flows.Stream:
        return self.orders.join(self.homes.table("latest", versioned="1d"), suffix="_home")

    def whole(self) -> flows.Stream:
        return self.orders.join(self.app.global_table("everywhere", self.homes), on=col("user"), suffix="_home")

    def changed(self) -> flows.Stream:
        return self.orders.table("last").join(self.homes.table("latest"), name="both", suffix="_home").changes()

    def repartitioned(self) -> flows.Stream:
        homes = self.homes.select("user", "address", where=col("user"), at_home=col("at"))
        return self.orders.join(homes, "user", right_on="where", within=100, suffix="_home", partitions=3)

    def merged(self) -> flows.Stream:
        """Two joins merged: of each record what the one has made, and the other."""
        others = self.orders.join(self.homes, within=100, suffix="_home", name="again")
        return self.window().merge(others)

    def folded(self) -> flows.Stream:
        by_town = fold(Summed(Decimal(0)), lambda found, order: Summed(found.total + order.first.price))
        totals = self.orders.group_by("user").agg(sums=by_town, orders=count()).table("totals")
        return self.orders.join(self.homes, within=100, suffix="_home").join(totals)


WAYS = [
    Shop.window,
    Shop.asof,
    Shop.table,
    Shop.versioned,
    Shop.whole,
    Shop.changed,
    Shop.repartitioned,
    Shop.merged,
    Shop.folded,
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("crash", [False, True])
def test_rows_have_records_in_them(way: Callable[[Shop], flows.Stream], crash: bool) -> None:
    shop = Shop()
    stream = way(shop)
    seen: list[Any] = []
    seen_twice: list[Any] = []

    @shop.app.agent(stream)
    async def look(rows: Any) -> None:
        async for row in rows:
            seen.append(row)

    @shop.app.agent(stream)
    async def look_at_two(rows: Any) -> None:
        async for two in rows.take(2, within=1_000):
            seen_twice.extend(two)

    lines = stream.map(lambda row: Seen(row.user, row.first), returns=Seen)
    with shop.app.test(now=2_000.0) as t:
        t.send(shop.homes, Home("ann", HERE, 1_000.0))
        for n in range(2):
            if crash:
                t.crash()
            t.send(shop.orders, Order("ann", FIRST, [FIRST, SECOND], 1_001.0 + n))
        if crash:
            t.crash()
        t.advance("1h")
        for rows in (seen, seen_twice):
            assert len(rows) >= 2
            for row in rows:
                assert (row.first, row.lines, row.address) == (FIRST, [FIRST, SECOND], HERE)
        if way is Shop.folded:
            assert seen[-1].sums == Summed(Decimal(3))
        assert {r.value for r in t.output(lines)} == {Seen("ann", FIRST)}


def test_a_table_shows_them_too() -> None:
    shop = Shop()
    latest = shop.homes.table("latest")
    with shop.app.test(now=2_000.0) as t:
        t.send(shop.homes, Home("ann", HERE, 1_000.0))
        assert t.table(latest).rows() == [{"user": "ann", "address": HERE, "at": 1_000.0}]


def with_address(fields: dict[str, Any]) -> tuple[flows.App, Any]:
    address = type("Address", (flows.Record,), {"__annotations__": fields})
    home = type("Home", (flows.Record,), {"__annotations__": {"user": str, "address": address, "at": float}})
    app = flows.App("shop")
    homes = app.topic("homes", value=home, key="user", timestamp="at")
    homes.join(homes.table("latest"), suffix="_before")
    homes.join(homes, within=10, suffix="_other", name="pairs")
    return app, home("ann", address(*("Ulm", 89_073)[: len(fields)]), 1_000.0)


@pytest.mark.parametrize("moved", [False, True])
def test_a_class_that_cannot_read_what_is_stored_is_refused(moved: bool) -> None:
    app, home = with_address({"town": str})
    with Driver(app, now=2_000.0) as t:
        t.send("homes", home)
    app, _ = with_address({"town": str, "code": int})
    kept = {"broker": t._broker, "stores": {} if moved else t._stores}
    why = r"field Address\.code is new and has no default"
    with pytest.raises(IncompatibleState, match=why), Driver(app, now=2_000.0, **kept):  # type: ignore[arg-type]
        pass
