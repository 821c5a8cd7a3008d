"""Agents: every way to read a stream, what they write, and what an exception takes back."""

from __future__ import annotations

import asyncio
from typing import Any

import polars as pl
import pytest

import flows
from flows import col
from flows.errors import AgentError, FlowsError


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


@batches
def test_plain_iteration_and_a_sink(batch: bool) -> None:
    app, orders, out = shop()

    @app.agent(orders, sink=[out])
    async def double(stream):
        async for order in stream:
            yield {"twice": order.amount * 2}

    with app.test() as t:
        send(t, orders, 1, 2, 3, batch=batch)
        records = t.output(out)
        assert [r.value for r in records] == [{"twice": 2}, {"twice": 4}, {"twice": 6}]
        assert [r.timestamp for r in records] == [1.0, 2.0, 3.0]
        assert t.output(out) == []


def test_events_tell_where_a_record_came_from() -> None:
    app, orders, out = shop(partitions=2)

    @app.agent(orders, sink=[out])
    async def trace(stream):
        async for e in stream.events():
            yield {"at": [e.topic, e.partition, e.offset], "key": e.key, "time": e.timestamp, "h": len(e.headers)}

    with app.test() as t:
        with t.batch():
            t.send(orders, Order(shop="a", at=None), partition=1, headers={"x": b"1"})
            t.send(orders, Order(shop="a"), at=7.0, partition=1)
        assert values(t, out) == [
            {"at": ["orders", 1, 0], "key": "a", "time": None, "h": 1},
            {"at": ["orders", 1, 1], "key": "a", "time": 7.0, "h": 0},
        ]


def test_items_pair_values_with_their_keys() -> None:
    app, _, out = shop()
    plain = app.topic("plain", value=dict)

    @app.agent(plain, sink=[out])
    async def pairs(stream):
        async for key, value in stream.items():
            yield {"key": key, "value": value}

    with app.test() as t:
        t.send(plain, {"n": 1}, key="text")
        t.send(plain, {"n": 2}, key=None)
        assert values(t, out) == [{"key": "text", "value": {"n": 1}}, {"key": None, "value": {"n": 2}}]


@batches
def test_take_hands_out_full_lists_and_keeps_the_rest(batch: bool) -> None:
    app, orders, out = shop()

    @app.agent(orders, sink=[out])
    async def pairs(stream):
        async for pair in stream.take(2):
            yield {"pair": [o.amount for o in pair]}

    with app.test() as t:
        send(t, orders, 1, 2, 3, batch=batch)
        assert values(t, out) == [{"pair": [1, 2]}]
        t.crash()
        send(t, orders, 4, batch=batch)
        t.rebalance()
        send(t, orders, 5, 6, 7, batch=batch)
        assert values(t, out) == [{"pair": [3, 4]}, {"pair": [5, 6]}]


def test_a_shorter_take_after_a_restart_hands_out_what_was_kept_in_its_own_size() -> None:
    def module(size: int) -> tuple[flows.App, flows.Topic, flows.Topic]:
        app, orders, out = shop()

        @app.agent(orders, sink=[out])
        async def lists(stream):
            async for found in stream.take(size):
                yield {"list": [o.amount for o in found]}

        return app, orders, out

    app, orders, out = module(10)
    with app.test() as t:
        send(t, orders, 1, 2, 3, 4, 5)
        broker, stores = t._broker, t._stores
    app, orders, out = module(2)
    with flows.testing.Driver(app, broker=broker, stores=stores) as t:
        send(t, orders, 6, 7)
        assert [v["list"] for v in values(t, out)] == [[1, 2], [3, 4], [5, 6]]


def test_batches_and_frames_hold_all_that_is_there() -> None:
    app, orders, out = shop()

    @app.agent(orders, sink=[out])
    async def sums(stream):
        async for batch in stream.batches():
            yield {"batch": [o.amount for o in batch]}

    @app.agent(orders, sink=[out])
    async def columns(stream):
        async for frame in stream.frames():
            assert frame.schema == {"shop": pl.String, "amount": pl.Int64, "at": pl.Float64}
            yield {"frame": frame["amount"].to_list()}

    with app.test() as t:
        send(t, orders, 1, 2, batch=True)
        send(t, orders, 3)
        found = values(t, out)
        assert [v["batch"] for v in found if "batch" in v] == [[1, 2], [3]]
        assert [v["frame"] for v in found if "frame" in v] == [[1, 2], [3]]


def test_frames_of_a_topic_without_columns_are_an_error_that_says_so() -> None:
    app, _, _ = shop()
    plain = app.topic("plain", value=dict)

    @app.agent(plain)
    async def columns(stream):
        async for _ in stream.frames():
            pass

    with pytest.raises(AgentError, match=r"frames\(\) needs columns; declare the topic with value="), app.test():
        pass


@batches
def test_what_an_agent_sends_leaves_with_its_commit(batch: bool) -> None:
    app, orders, out = shop()

    @app.agent(orders)
    async def forward(stream):
        async for order in stream:
            await out.send({"n": order.amount}, key="k", headers={"h": b"1"})
            await out.send({"n": -order.amount}, timestamp=99.0)

    with app.test() as t:
        send(t, orders, 5, batch=batch)
        first, second = t.output(out)
        assert (first.key, first.value, first.timestamp, first.headers) == ("k", {"n": 5}, 5.0, {"h": b"1"})
        assert (second.key, second.value, second.timestamp) == (None, {"n": -5}, 99.0)


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
        ("wrong type", "Expected `int`, got `str` - at `$.amount`"),
        ("no field", "missing required field `shop`"),
        ("bytes in json", "TypeError"),
        ("bad partition", "has no partition 7"),
        ("nan", "cannot convert float NaN"),
    ],
)
def test_what_a_topic_cannot_carry_is_the_records_fault(bad: str, reason: str) -> None:
    app, orders, out = shop()
    typed = app.topic("typed", value=Order)

    @app.agent(orders, sink=[out])
    async def send_bad(stream):
        async for order in stream:
            if order.amount == 2:
                if bad == "wrong type":
                    await typed.send({"shop": "a", "amount": "two"})
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


def test_copies_of_an_agent_share_records_by_key_and_keep_each_keys_order() -> None:
    app, orders, out = shop()
    running: list[int] = []

    @app.agent(orders, sink=[out], concurrency=4)
    async def slow(stream):
        async for order in stream:
            running.append(1)
            await asyncio.sleep(1)
            running.append(-1)
            yield {"shop": order.shop, "n": order.amount}

    with app.test() as t:
        with t.batch():
            for n in range(6):
                for name in "abcdefgh":
                    t.send(orders, Order(shop=name, amount=n), at=0.0)
        t.advance("48s")
        found = values(t, out)
        assert max(sum(running[:i]) for i in range(len(running))) > 1
        assert {s: [v["n"] for v in found if v["shop"] == s] for s in "abcdefgh"} == {
            s: [*range(6)] for s in "abcdefgh"
        }


def test_copies_of_a_taking_agent_keep_their_own_elements_over_a_crash() -> None:
    app, orders, out = shop()

    @app.agent(orders, sink=[out], concurrency=3)
    async def pairs(stream):
        async for pair in stream.take(2):
            yield {"pair": [(o.shop, o.amount) for o in pair]}

    with app.test() as t:
        for n in range(3):
            for name in "abcde":
                t.send(orders, Order(shop=name, amount=n), at=0.0)
                t.crash()
        sent = [tuple(o) for v in values(t, out) for o in v["pair"]]
        assert len(sent) == len(set(sent))
        assert len(sent) >= 12


def test_agents_read_filtered_shaped_and_mapped_streams() -> None:
    app, orders, out = shop()

    big = orders.filter(col("amount") > 1)
    shaped = big.select("shop", double=col("amount") * 2)
    mapped = big.map(enlarge)

    @app.agent(big, sink=[out])
    async def filtered(stream):
        async for order in stream:
            assert isinstance(order, Order)
            yield {"big": order.amount}

    @app.agent(shaped, sink=[out])
    async def projected(stream):
        async for key, row in stream.items():
            yield {"key": key, "double": row.double}

    @app.agent(mapped.filter(col("much") < 500), sink=[out])
    async def after_map(stream):
        async for row in stream:
            assert isinstance(row, Big)
            yield {"much": row.much}

    with app.test() as t:
        send(t, orders, 1, 2, 3, batch=True)
        send(t, orders, 4, 5)
        found = values(t, out)
        assert [v["big"] for v in found if "big" in v] == [2, 3, 4, 5]
        assert [(v["key"], v["double"]) for v in found if "double" in v] == [("a", 4), ("a", 6), ("a", 8), ("a", 10)]
        assert [v["much"] for v in found if "much" in v] == [200, 300]
        assert [r.value["double"] for r in t.output(shaped)] == [4, 6, 8, 10]
        assert [r.value.much for r in t.output(mapped)] == [200, 300, 500]
