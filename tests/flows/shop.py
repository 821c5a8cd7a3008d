"""The shop of the agents' tests: orders of an amount, and what helps to send them and to read what comes out."""

from __future__ import annotations

from typing import Any

import pytest

import flows


class Order(flows.Record):
    shop: str
    amount: int = 1
    at: float | None = 0.0


class Big(flows.Record, kw_only=True):
    name: str
    much: int


def enlarge(order: Order) -> Big | None:
    return Big(name=order.shop, much=order.amount * 100) if order.amount != 4 else None


def shop(**topic: Any) -> tuple[flows.App, flows.Topic, flows.Topic]:
    app = flows.App("shop")
    orders = app.topic("orders", value=Order, **{"key": "shop", "timestamp": "at", **topic})
    return app, orders, app.topic("out", value=dict)


def send(t: Any, orders: flows.Topic, *amounts: int, shop: str = "a", batch: bool = False) -> None:
    """Send one order per amount, at the second of that amount."""
    if batch:
        with t.batch():
            send(t, orders, *amounts, shop=shop)
        return
    for amount in amounts:
        t.send(orders, Order(shop=shop, amount=amount), at=float(amount))


def values(t: Any, topic: flows.Topic) -> list[Any]:
    return [r.value for r in t.output(topic)]


batches = pytest.mark.parametrize("batch", [False, True], ids=["one by one", "as a batch"])
