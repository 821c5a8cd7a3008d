"""Agents that raise, return, break off or cannot send: what is taken back, delivered again, and given up."""

from __future__ import annotations

import asyncio

import pytest

from flows.errors import AgentError, FlowsError
from tests.flows.shop import Order, batches, send, shop, values


@batches
def test_an_exception_takes_back_writes_and_yields_and_the_record_is_retried(batch: bool) -> None:
    app, orders, out = shop()
    seen = app.table("seen", value=int, default=int)
    lists = app.table("lists", value=list[int], default=list)
    attempts: list[int] = []

    @app.agent(orders, sink=[out], retries=2)
    async def fragile(stream):
        async for order in stream:
            attempts.append(order.amount)
            seen[order.shop] += 1
            lists[order.shop].append(order.amount)
            yield {"n": order.amount}
            await out.send({"sent": order.amount})
            if order.amount == 13 or (order.amount == 2 and attempts.count(2) < 3):
                raise ValueError("unlucky")

    with app.test() as t:
        send(t, orders, 1, 2, 13, 4, batch=batch)
        assert attempts == [1, 2, 2, 2, 13, 13, 13, 4]
        assert values(t, out) == [{"n": 1}, {"sent": 1}, {"n": 2}, {"sent": 2}, {"n": 4}, {"sent": 4}]
        assert t.table(seen).get("a") == 3
        assert t.table(lists).get("a") == [1, 2, 4]
        (dead,) = t.dead_letters()
        assert (dead.step, dead.topic, dead.partition, dead.offset) == ("fragile", "orders", 0, 2)
        assert dead.reason == "ValueError: unlucky (3 attempts)"
        t.crash()
        send(t, orders, 5)
        assert t.table(lists).get("a") == [1, 2, 4, 5]


@batches
@pytest.mark.parametrize("how", ["take", "batches"])
def test_a_list_that_fails_is_delivered_again_as_it_was_then_dead_lettered(batch: bool, how: str) -> None:
    app, orders, out = shop()
    seen = app.table("seen", value=int, default=int)
    tried: list[list[int]] = []

    @app.agent(orders, sink=[out], retries=1)
    async def fragile(stream):
        async for found in stream.take(2) if how == "take" else stream.batches():
            tried.append([o.amount for o in found])
            seen["n"] += len(found)
            yield {"list": tried[-1]}
            if 3 in tried[-1]:
                raise ValueError("three")

    with app.test() as t:
        for pair in ([1, 2], [3, 4], [5, 6]):
            send(t, orders, *pair, batch=batch or how == "batches")
        assert tried == [[1, 2], [3, 4], [3, 4], [5, 6]]
        assert values(t, out) == [{"list": [1, 2]}, {"list": [5, 6]}]
        assert t.table(seen).get("n") == 4
        assert [d.offset for d in t.dead_letters()] == [2, 3]
        t.crash()
        assert values(t, out) == []
        assert len(t.dead_letters()) == 2


def test_a_take_that_fails_once_before_it_takes_gets_the_same_list() -> None:
    app, orders, out = shop()
    calls: list[str] = []

    @app.agent(orders, sink=[out])
    async def fragile(stream):
        calls.append("start")
        if len(calls) == 3:
            raise ValueError("cannot reach the service")
        async for found in stream.take(3, within="1s"):
            calls.append("list")
            if len(calls) == 2:
                raise ValueError("first time")
            yield {"list": [o.amount for o in found]}

    with app.test() as t:
        send(t, orders, 1, 2)
        t.advance("1s")
        send(t, orders, 3, 4)
        t.advance("1s")
        assert values(t, out) == [{"list": [1, 2]}, {"list": [3, 4]}]


def test_a_cancellation_of_what_an_agent_waits_for_is_a_failure_like_others() -> None:
    app, orders, out = shop()

    @app.agent(orders, sink=[out], retries=1)
    async def fragile(stream):
        async for order in stream:
            if order.amount == 2:
                other = asyncio.ensure_future(asyncio.sleep(60))
                other.cancel()
                await other
            yield {"n": order.amount}

    with app.test() as t:
        send(t, orders, 1, 2, 3, batch=True)
        assert values(t, out) == [{"n": 1}, {"n": 3}]
        assert [d.reason for d in t.dead_letters()] == ["CancelledError:  (2 attempts)"]


def test_an_agent_may_return_after_each_record() -> None:
    app, orders, out = shop()

    @app.agent(orders, sink=[out])
    async def once(stream):
        async for order in stream:
            yield {"n": order.amount}
            return

    @app.agent(orders)
    async def broken_off(stream):
        async for order in stream:
            await out.send({"sent": order.amount})
            break

    with app.test() as t:
        send(t, orders, 1)
        send(t, orders, 2)
        send(t, orders, 3, 4, 5, batch=True)
        found = values(t, out)
        assert [v["n"] for v in found if "n" in v] == [1, 2, 3, 4, 5]
        assert [v["sent"] for v in found if "sent" in v] == [1, 2, 3, 4, 5]


def test_an_agent_that_breaks_and_reads_on_loses_nothing() -> None:
    app, orders, out = shop()

    @app.agent(orders, sink=[out])
    async def two_by_two(stream):
        while True:
            found = []
            async for order in stream:
                found.append(order.amount)
                if len(found) == 2:
                    break
            yield {"found": found}

    with app.test() as t:
        send(t, orders, 1, 2, 3, batch=True)
        send(t, orders, 4)
        assert [v["found"] for v in values(t, out)] == [[1, 2], [3, 4]]


def test_an_agent_that_never_reads_is_an_error_not_a_loop() -> None:
    app, orders, _ = shop()

    @app.agent(orders)
    async def lazy(stream):
        return

    with pytest.raises(AgentError, match="agent 'lazy' returned without reading a record; iterate"), app.test():
        pass


def test_what_is_written_before_the_first_record_is_kept_though_that_record_fails() -> None:
    app, orders, _ = shop()
    starts = app.table("starts", value=int, default=int)

    @app.agent(orders, retries=0)
    async def fragile(stream):
        starts["n"] += 1
        async for order in stream:
            starts[order.shop] += 1
            if order.amount == 2:
                raise ValueError

    with app.test() as t:
        send(t, orders, 1)
        assert t.table(starts).rows() == [{"key": "a", "value": 1}, {"key": "n", "value": 1}]
        send(t, orders, 2)
        send(t, orders, 3)
        assert t.table(starts).rows() == [{"key": "a", "value": 2}, {"key": "n", "value": 2}]


def test_stop_and_skip() -> None:
    for on_error, dead in (("skip", 0), ("stop", 0)):
        app, orders, _ = shop()
        seen = app.table("seen", value=int, default=int)

        @app.agent(orders, on_error=on_error, retries=0)
        async def fragile(stream, seen=seen):
            async for order in stream:
                seen[order.shop] += order.amount
                if order.amount == 2:
                    raise ValueError("two")

        with app.test() as t:
            send(t, orders, 1)
            if on_error == "stop":
                with pytest.raises(FlowsError, match=r"fragile: record orders/0/1 refused: ValueError: two"):
                    send(t, orders, 2)
            else:
                send(t, orders, 2, 3)
            assert t.table(seen).get("a") == (1 if on_error == "stop" else 4)
            assert len(t.dead_letters()) == dead


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("x" * 2_000_000, "more than 1000000"),
        ("wrong type", "topic 'typed' takes Order: Expected `int`, got `str` - at `$.amount`"),
        ("no number", "topic 'number' takes int: Expected `int`, got `str`"),
        ("no dict", "topic 'out' takes dict: Expected `object`, got `array`"),
        ("no field", "missing required field `shop`"),
        ("bytes in json", "TypeError"),
        ("bad partition", "has no partition 7"),
        ("nan", "cannot convert float NaN"),
    ],
)
def test_what_a_topic_cannot_carry_is_the_records_fault(bad: str, reason: str) -> None:
    app, orders, out = shop()
    typed, number = app.topic("typed", value=Order), app.topic("number", value=int)

    @app.agent(orders, sink=[out])
    async def send_bad(stream):
        async for order in stream:
            if order.amount == 2:
                if bad == "wrong type":
                    await typed.send({"shop": "a", "amount": "two"})
                elif bad == "no number":
                    await number.send("two")
                elif bad == "no dict":
                    await out.send([2])
                elif bad == "no field":
                    await typed.send({"amount": 2})
                elif bad == "bytes in json":
                    await out.send({"n": object()})
                elif bad == "bad partition":
                    await out.send({"n": 2}, partition=7)
                elif bad == "nan":
                    await out.send({"n": 2}, timestamp=float("nan"))
                else:
                    yield {"text": bad}
            yield {"n": order.amount}

    with app.test() as t:
        send(t, orders, 1, 2, 3, batch=True)
        assert values(t, out) == [{"n": 1}, {"n": 3}]
        (dead,) = t.dead_letters()
        assert dead.offset == 1
        assert reason in dead.reason
