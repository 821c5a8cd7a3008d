"""Timers of keys: each goes off once, in order of time, over crashes and moves; and a failed record sets none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

import flows
from flows.brokers.memory import MemoryBroker
from flows.testing import Driver

START = 1_700_000_000.0


class Order(flows.Record):
    id: str
    at: float | None
    paid: bool = False


class Shop:
    """An agent that has unpaid orders reminded of, 15 minutes after their last record."""

    def __init__(self, time: str = "event") -> None:
        self.app = flows.App("shop")
        self.orders = self.app.topic("orders", value=Order, key="id", timestamp="at")
        self.told = told = self.app.topic("told", value=dict)
        self.unpaid = unpaid = self.app.key_timer("unpaid", key=str, time=time)
        self.reminded = reminded = self.app.table("reminded", value=int, default=int)

        @self.app.agent(self.orders)
        async def watch(stream: AsyncIterator[Order]) -> None:
            async for order in stream:
                if order.paid:
                    unpaid.cancel(order.id)
                else:
                    unpaid.set(order.id, after="15m")
                if order.id == "bad":
                    raise ValueError("bad")

        @unpaid.on_time
        async def remind(id: str, due: float) -> None:
            reminded[id] += 1
            await told.send({"id": id, "due": due})

    def output(self, t: Driver) -> list[tuple[Any, ...]]:
        return [(r.value["id"], r.value["due"], r.timestamp) for r in t.output(self.told)]


def test_a_timer_goes_off_once_when_stream_time_has_passed_it() -> None:
    shop = Shop()
    with shop.app.test() as t:
        t.send(shop.orders, Order("a", 0.0))
        t.send(shop.orders, Order("b", 10.0))
        assert t.table(shop.unpaid).rows() == [{"key": "a", "value": 900.0}, {"key": "b", "value": 910.0}]
        t.send(shop.orders, Order("c", 899.0))
        assert shop.output(t) == []
        t.crash()
        t.send(shop.orders, Order("c", 905.0))
        assert shop.output(t) == [("a", 900.0, 900.0)]
        t.rebalance()
        t.send(shop.orders, Order("c", 5000.0, paid=True))
        assert shop.output(t) == [("b", 910.0, 910.0), ("c", 1805.0, 1805.0)]
        assert t.table(shop.unpaid).rows() == []
        assert {row["key"]: row["value"] for row in t.table(shop.reminded).rows()} == {"a": 1, "b": 1, "c": 1}


def test_it_is_moved_and_cancelled() -> None:
    shop = Shop()
    with shop.app.test() as t:
        for order in (Order("a", 0.0), Order("b", 0.0), Order("a", 60.0), Order("b", 70.0, paid=True)):
            t.send(shop.orders, order)
        t.send(shop.orders, Order("b", 3000.0, paid=True))
        assert shop.output(t) == [("a", 960.0, 960.0)]


def test_silence_lets_it_go_off() -> None:
    shop = Shop()
    with shop.app.test() as t:
        t.send(shop.orders, Order("a", 0.0))
        t.advance("14m")
        assert shop.output(t) == []
        t.advance("2m")
        assert shop.output(t) == [("a", 900.0, 900.0)]
        t.crash()
        t.advance("1h")
        assert shop.output(t) == []


def test_a_failed_record_sets_none() -> None:
    shop = Shop()
    with shop.app.test() as t:
        t.send(shop.orders, Order("bad", 0.0))
        t.send(shop.orders, Order("a", 5000.0, paid=True))
        assert len(t.dead_letters()) == 1
        assert t.table(shop.unpaid).rows() == []
        assert shop.output(t) == []


def test_a_record_without_a_time_can_set_one_by_a_moment_only() -> None:
    shop = Shop()
    with shop.app.test() as t:
        t.send(shop.orders, Order("a", None))
        (letter,) = t.dead_letters()
        assert "after= counts from the event time in hand, but there is none" in letter.reason


def test_by_the_wall_clock() -> None:
    shop = Shop("processing")
    with Driver(shop.app, now=START) as t:
        t.send(shop.orders, Order("a", 0.0))
        t.advance("5m")
        t.send(shop.orders, Order("b", 1e6))
        t.crash()
        t.advance("9m")
        assert shop.output(t) == []
        t.advance("1m")
        assert shop.output(t) == [("a", START + 900, START + 900)]
        t.rebalance()
        t.advance("1h")
        assert shop.output(t) == [("b", START + 1200, START + 1200)]


@pytest.mark.parametrize("time", ["event", "processing"])
def test_what_was_due_while_nobody_ran_goes_off_at_the_next_start(time: str) -> None:
    shop, broker = Shop(time), MemoryBroker()
    with Driver(shop.app, now=START, broker=broker) as t:
        t.send(shop.orders, Order("a", START))
    with Driver(shop.app, now=START + 3600, broker=broker) as t:
        t.advance("1s")
        if time == "event":  # time during which nobody ran does not count
            assert shop.output(t) == []
            t.send(shop.orders, Order("b", START + 3600))
        assert shop.output(t) == [("a", START + 900, START + 900)]


def test_timers_that_set_timers_go_off_in_order_of_time() -> None:
    app = flows.App("o")
    orders = app.topic("orders", value=Order, key="id", timestamp="at")
    told = app.topic("told", value=dict)
    beats, once = app.key_timer("beats"), app.key_timer("once")

    @app.agent(orders)
    async def watch(stream: AsyncIterator[Order]) -> None:
        async for order in stream:
            beats.set(order.id, after=10)
            once.set(order.id, at=order.at + 25)

    @beats.on_time
    async def beat(id: str, due: float) -> None:
        await told.send({"beat": due})
        beats.set(id, after="10s")

    @once.on_time
    def end(id: str, due: float) -> None:
        assert id in beats
        assert [key for key, _ in beats.items()] == ["a"]
        beats.cancel(id)

    with app.test() as t:
        t.send(orders, Order("a", 100.0))
        t.send(orders, Order("b", 1000.0))
        assert [r.value["beat"] for r in t.output(told)] == [110.0, 120.0]


def test_one_that_fails_is_tried_again_and_then_a_dead_letter() -> None:
    app = flows.App("o")
    orders = app.topic("orders", value=Order, key="id", timestamp="at")
    table, timer = app.table("seen", value=int, default=int), app.key_timer("timer")
    tries: list[str] = []

    @app.agent(orders)
    async def watch(stream: AsyncIterator[Order]) -> None:
        async for order in stream:
            timer.set(order.id, after=1)

    @timer.on_time
    async def fail(id: str, due: float) -> None:
        table[id] += 1
        tries.append(id)
        raise ValueError("no")

    with app.test() as t:
        t.send(orders, Order("a", 1.0))
        t.send(orders, Order("b", 3.0))
        assert tries == ["a"] * 4
        assert t.table(table).rows() == []
        (letter,) = t.dead_letters()
        assert (letter.step, letter.reason) == ("timer.on_time", "ValueError: no (4 attempts)")


def test_set_wants_one_moment() -> None:
    app = flows.App("o")
    orders = app.topic("orders", value=Order, key="id", timestamp="at")
    timer = app.key_timer("timer", key=str)

    @timer.on_time
    def ring(id: str, due: float) -> None: ...

    @app.agent(orders)
    async def watch(stream: AsyncIterator[Order]) -> None:
        async for order in stream:
            match order.id:
                case "neither":
                    timer.set(order.id)
                case "both":
                    timer.set(order.id, at=1.0, after=1)
                case "text":
                    timer.set(order.id, at="soon")
                case _:
                    timer.set(1, after=1)

    with app.test() as t:
        for number, id in enumerate(("neither", "both", "text", "key")):
            t.send(orders, Order(id, float(number)))
        reasons = [letter.reason for letter in t.dead_letters()]
        assert ["set(key, at=…)" in reason for reason in reasons] == [True, True, False, False]
        assert "no time" in reasons[2]
        assert "declared key=str" in reasons[3]
