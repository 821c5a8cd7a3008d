"""What flows through an app is counted by topic, step and table, whatever the batches: the page draws it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from time import perf_counter

import pytest

import flows
from flows import col, count
from flows.metrics import WorkerMetrics
from flows.run.trend import Trend


class Order(flows.Record):
    customer: str
    country: str
    amount: float


app = flows.App("counted")
orders = app.topic("orders", value=Order, key="customer")
big = orders.filter(col("amount") > 5)
big.group_by("country").agg(orders=count()).table("by_country")
spent = app.table("spent", key=str, value=float, default=float)
vips = app.topic("vips", value=dict)


@app.agent(big, sink=[vips])
async def watch(stream: AsyncIterator[Order]) -> AsyncIterator[dict[str, str]]:
    async for order in stream:
        spent[order.customer] += order.amount
        if order.customer == "ada":
            yield {"customer": order.customer}


@pytest.mark.parametrize("together", [True, False], ids=["one batch", "a batch each"])
def test_what_flows_is_counted(together: bool) -> None:
    values = [("ada", "UK", 10.0), ("bob", "NO", 1.0), ("ada", "UK", 7.0), ("cyd", "NO", 6.0), ("dan", "SE", 2.0)]
    sent = [{"customer": customer, "country": country, "amount": amount} for customer, country, amount in values]
    with app.test() as t:
        if together:
            with t.batch():
                for value in sent:
                    t.send(orders, value)
        else:
            for value in sent:
                t.send(orders, value)
        found = t.metrics.flows()
        rows = t.table("by_country").rows()
    assert sum(row["orders"] for row in rows) == 3
    assert found.read["orders"] == 5
    assert found.made["orders.filter"] == 3
    assert found.written["vips"] == 2
    # A batch changes each row once.
    assert found.changed["spent"] == (2 if together else 3)
    assert found.changed["by_country"] == (2 if together else 3)


def test_a_trend_tells_rates_and_growth_of_the_last_seconds() -> None:
    metrics = WorkerMetrics()
    task = metrics.task("orders/0")
    begun = perf_counter()
    trend = Trend(metrics)
    trend.measure(100)
    task.took("orders", [0] * 50)
    task.made["orders.filter"] += 20
    task.count_refused("orders", "dead-letter")
    task.seconds["agent"] += 3.0
    task.seconds["commit"] += 1.0
    trend.measure(160)
    flow, most = trend.flow(), 1 / (perf_counter() - begun)
    assert flow.read["orders"] >= 50 * most
    assert flow.made["orders.filter"] == pytest.approx(flow.read["orders"] * 20 / 50)
    assert trend.lag_growth() >= 60 * most
    assert trend.shares()["agent"] == pytest.approx(0.75)
    assert trend.refused() == {"orders": 1}
    for _ in range(21):
        trend.measure(160)
    assert trend.flow().read == {}
    assert trend.lag_growth() == 0.0
    assert trend.shares() == {}
    assert trend.refused() == {}


def test_troubles_are_told_with_how_often_they_came_and_the_last_kept() -> None:
    metrics = WorkerMetrics()
    for number in range(25):
        metrics.trouble(f"trouble {number}")
    metrics.trouble("trouble 7")
    metrics.trouble("trouble 7")
    assert len(metrics.troubles) == 20
    assert [(t.what, t.count) for t in metrics.troubles[-2:]] == [("trouble 24", 1), ("trouble 7", 3)]
    assert metrics.errors[0] == "trouble 5"
