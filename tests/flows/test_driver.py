"""The test driver itself: its calls, its clock, and that slow work waits for nobody else."""

from __future__ import annotations

import asyncio

import pytest

import flows
from flows import count, tumbling
from flows.errors import FlowsError


class Order(flows.Record):
    shop: str
    amount: int = 1
    at: float = 0.0


def orders_app(partitions: int = 1) -> tuple[flows.App, flows.Topic]:
    app = flows.App("shop")
    return app, app.topic("orders", value=Order, key="shop", timestamp="at", partitions=partitions)


def test_timers_run_once_per_interval_however_the_clock_is_moved() -> None:
    app, orders = orders_app()
    ticks = app.table("ticks", value=int, default=int)

    @app.agent(orders)
    async def watch(stream):
        async for order in stream:
            ticks[order.shop] += 0

    @app.timer("100ms")
    async def tick():
        ticks["all"] += 1

    with app.test() as t:
        t.advance("10s")
        assert t.table(ticks).get("all") == 100
        for _ in range(7):
            t.advance(0.05)
        assert t.table(ticks).get("all") == 103
        t.crash()
        t.advance("1s")
        assert t.table(ticks).get("all") == 113


def test_records_that_a_timer_sends_carry_the_time_of_the_clock() -> None:
    app, orders = orders_app()
    seen = app.table("seen", value=int, default=int)
    beats = app.topic("beats", value=dict)

    @app.agent(orders)
    async def watch(stream):
        async for order in stream:
            seen[order.shop] += 1

    @app.timer("1s")
    async def beat():
        await beats.send({"seen": seen["a"]})

    with app.test(now=1_000_000.0) as t:
        t.send(orders, Order(shop="a"))
        t.advance("1s")
        (record,) = t.output(beats)
        assert (record.value, record.timestamp) == ({"seen": 1}, 1_000_001.0)


def test_an_agent_that_sleeps_holds_back_only_its_own_task() -> None:
    app, orders = orders_app(partitions=2)
    seen = app.table("seen", value=int, default=int)

    @app.agent(orders)
    async def watch(stream):
        async for order in stream:
            if order.amount > 1:
                await asyncio.sleep(order.amount)
            seen[order.shop] += 1

    with app.test() as t:
        t.send(orders, Order(shop="slow", amount=60), partition=0)
        t.send(orders, Order(shop="slow"), partition=0)
        t.send(orders, Order(shop="quick"), partition=1)
        assert t.table(seen).rows() == [{"key": "quick", "value": 1}]
        t.advance("59s")
        t.send(orders, Order(shop="quick"), partition=1)
        assert t.table(seen).rows() == [{"key": "quick", "value": 2}]
        t.advance("1s")
        assert t.table(seen).get("slow") == 2


@pytest.mark.parametrize("trouble", ["crash", "rebalance"])
def test_a_record_in_the_hands_of_a_sleeping_agent_is_processed_again(trouble: str) -> None:
    app, orders = orders_app()
    seen = app.table("seen", value=int, default=int)

    @app.agent(orders)
    async def watch(stream):
        async for order in stream:
            seen[order.shop] += 1
            await asyncio.sleep(order.amount)

    with app.test() as t:
        t.send(orders, Order(shop="a", amount=10))
        t.advance("5s")
        getattr(t, trouble)()
        assert t.table(seen).rows() == []
        t.advance("5s")
        assert t.table(seen).rows() == []
        t.advance("5s")
        assert t.table(seen).get("a") == 1


def test_what_an_agent_does_when_its_patience_ends_is_committed_by_that_advance() -> None:
    app, orders = orders_app()
    pairs = app.topic("pairs", value=dict)

    @app.agent(orders, sink=[pairs])
    async def pair(stream):
        async for found in stream.take(10, within="5s"):
            yield {"shops": [o.shop for o in found]}

    with app.test() as t:
        t.send(orders, Order(shop="a"))
        t.advance("3s")
        t.send(orders, Order(shop="b"))
        t.advance("1.9s")
        assert t.output(pairs) == []
        t.advance("100ms")
        assert [r.value for r in t.output(pairs)] == [{"shops": ["a", "b"]}]
        t.crash()
        t.advance("1m")
        assert t.output(pairs) == []


def test_sent_bytes_that_nobody_can_read_are_keyed_by_nobody() -> None:
    app, orders = orders_app()

    @app.agent(orders)
    async def watch(stream):
        async for _ in stream:
            pass

    with app.test() as t:
        t.send(orders, b'{"shop": "a", "extra": ' + b"[" * 100_000)
        (dead,) = t.dead_letters()
        assert dead.key is None
        assert "recursion" in dead.reason


def test_a_long_advance_takes_few_steps_and_closes_the_windows_on_its_way() -> None:
    app, orders = orders_app()
    table = orders.group_by("shop").window(tumbling("1h", emit="close")).agg(orders=count()).table("hourly")
    with app.test() as t:
        t.send(orders, Order(shop="a", at=0.0))
        t.advance("30d")
        assert t.table(table).rows() == [{"shop": "a", "window_start": 0.0, "window_end": 3600.0, "orders": 1}]


def test_an_unknown_topic_and_a_start_that_never_ends_are_errors() -> None:
    app, orders = orders_app()

    @app.agent(orders)
    async def never(stream):
        await asyncio.Event().wait()
        async for _ in stream:
            pass

    with pytest.raises(FlowsError, match="start waits for something that never comes"), app.test():
        pass
    app, orders = orders_app()
    with app.test() as t, pytest.raises(FlowsError, match="no topic 'odrers'"):
        t.send("odrers", {})


async def test_the_driver_works_inside_a_running_loop() -> None:
    app, orders = orders_app()
    seen = app.table("seen", value=int, default=int)

    @app.agent(orders)
    async def watch(stream):
        async for order in stream:
            seen[order.shop] += 1

    with app.test() as t:
        t.send(orders, Order(shop="a"))
        assert t.table(seen).get("a") == 1
