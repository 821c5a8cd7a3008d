"""Agents: every way to read a stream, and what they write."""

from __future__ import annotations

import asyncio
import datetime as dt

import polars as pl
import pytest

import flows
import flows.testing
from flows import col
from flows.errors import AgentError
from tests.flows.shop import Big, Order, batches, enlarge, send, shop, values


class Numbered(flows.Record):
    id: int
    text: str = ""
    at: float = 1.0
    on: dt.date = dt.date(2013, 1, 1)


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


def test_what_a_take_keeps_may_be_large_and_odd() -> None:
    app = flows.App("shop")
    orders = app.topic("orders", value=Numbered, key="id")
    shaped = orders.filter(col("at") > 0).select("at", "on", half=col("at") / 2)
    out = app.topic("out", value=dict)

    @app.agent(orders, sink=[out])
    async def pairs(stream):
        async for pair in stream.take(2):
            yield {"pair": [(o.id, len(o.text)) for o in pair]}

    @app.agent(shaped, sink=[out])
    async def shapes(stream):
        async for pair in stream.take(2):
            yield {"shapes": [(row.half, row.on.isoformat()) for row in pair]}

    with app.test() as t:
        first = Numbered(2**70, text="x" * 900_000)
        for order in (first, Numbered(7)):
            t.send(orders, order)
            t.rebalance()
        found = values(t, out)
        assert {"pair": [[2**70, 900_000], [7, 0]]} in found
        assert {"shapes": [[0.5, "2013-01-01"], [0.5, "2013-01-01"]]} in found
        assert t.dead_letters() == []
