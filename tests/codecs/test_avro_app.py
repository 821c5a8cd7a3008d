"""Apps on Avro topics, in the test driver: evolution, dead letters, what unfinished work brings back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import flows
from flows import count, tumbling
from flows.decode.codecs import Codecs
from flows.errors import FlowsError
from flows.testing import Driver


class Order(flows.Record):
    id: str
    amount: float
    at: float = 0.0


OLDER = {
    "type": "record",
    "name": "Order",
    "fields": [{"name": "id", "type": "string"}, {"name": "amount", "type": "int"}, {"name": "gone", "type": "string"}],
}
OTHER = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "string"}]}


def older(id: int, order: str) -> bytes:
    """Write an order of 7 with the older schema."""
    return id.to_bytes(5, "big") + bytes([2 * len(order)]) + order.encode() + b"\x0e" + b"\x02x"


def shop() -> tuple[flows.App, flows.Topic]:
    app = flows.App("shop")
    return app, app.topic("orders", value=Order, key="id", timestamp="at", codec="avro")


def test_records_of_several_schemas_meet_in_one_table() -> None:
    app, orders = shop()
    sums = orders.group_by("id").agg(amount=flows.sum("amount"), n=count()).table("sums")
    with app.test() as t:
        id = t.schema_registry.add("orders-value", OLDER)
        with t.batch():
            t.send(orders, Order("a", 1.5))
            t.send(orders, older(id, "a"), key="a")
        assert t.table(sums).rows() == [{"id": "a", "amount": 8.5, "n": 2}]
        assert not t.dead_letters()


def test_what_cannot_be_read_is_a_dead_letter_and_holds_up_nothing() -> None:
    app, orders = shop()
    sums = orders.group_by("id").agg(n=count()).table("sums")
    with app.test() as t:
        id = t.schema_registry.add("orders-value", OTHER)
        other = id.to_bytes(5, "big") + b"\x02a"
        bad = [other, b"\0\0\0\0\x63abc", b"{}", b'{"id": "a"}', b"\0\0\0\0\x01\x02a"]
        with t.batch():
            for data in bad:
                t.send(orders, data, key="a")
            t.send(orders, Order("a", 1.5))
        letters = t.dead_letters()
        assert [letter.value for letter in letters] == bad
        reasons = [
            f"schema {id} cannot be read as the topic's: No default value for field amount",
            "schema id 99 is unknown to the schema registry",
            "2 bytes are too few for a schema id",
            "the first byte is 123, expected 0",
            "the bytes end within a value of schema 1",
        ]
        for letter, reason in zip(letters, reasons, strict=True):
            assert letter.reason.startswith("not a valid Order: ")
            assert reason in letter.reason
        assert t.table(sums).rows() == [{"id": "a", "n": 1}]


RENAMED = {
    "type": "record",
    "name": "Order",
    "aliases": ["Purchase"],
    "fields": [
        {"name": "id", "type": "string", "aliases": ["number"]},
        {"name": "amount", "type": "double", "aliases": ["sum", "price"]},
        {"name": "at", "type": "double", "default": 0.5},
    ],
}
BEFORE = {
    "type": "record",
    "name": "Purchase",
    "fields": [
        {"name": "number", "type": "string"},
        {"name": "gone", "type": "string"},
        {"name": "price", "type": "int"},
    ],
}


def test_a_record_has_the_fields_that_its_schema_knows_by_other_names() -> None:
    app = flows.App("shop")
    orders = app.topic("orders", value=Order, key="id", timestamp="at", codec=flows.Avro(RENAMED))
    known = orders.filter(flows.col("amount") > 0)
    with app.test() as t:
        id = t.schema_registry.add("orders-value", BEFORE)
        t.send(orders, id.to_bytes(5, "big") + b"\x02a" + b"\x02x" + b"\x0e", key="a")
        assert [r.value for r in t.output(known)] == [Order("a", 7.0, 0.5)]


def test_an_id_that_the_registry_learns_later_is_asked_again() -> None:
    app, orders = shop()
    sums = orders.group_by("id").agg(n=count()).table("sums")
    with app.test() as t:
        t.send(orders, older(2, "a"), key="a")
        assert len(t.dead_letters()) == 1
        assert t.schema_registry.add("orders-value", OLDER) == 2
        t.send(orders, older(2, "a"), key="a")
        assert t.table(sums).rows() == [{"id": "a", "n": 1}]


def test_late_records_are_json() -> None:
    app, orders = shop()
    hourly = orders.group_by("id").window(tumbling("1h")).agg(n=count()).table("hourly")
    with app.test() as t:
        t.send(orders, Order("a", 1.0, 10_000.0))
        t.send(orders, Order("a", 2.0, 5.0))
        assert [r.value for r in t.late(hourly)] == [{"id": "a", "amount": 2.0, "at": 5.0}]


def test_what_a_take_held_is_decoded_by_a_worker_that_never_met_its_schema() -> None:
    app, orders = shop()
    batches = app.topic("batches", value=list)

    @app.agent(orders, sink=[batches])
    async def gather(stream: Any) -> Any:
        async for some in stream.take(2, within="1h"):
            yield [(order.id, order.amount) for order in some]

    with app.test(now=0.0) as t:
        id = t.schema_registry.add("orders-value", OLDER)
        t.send(orders, older(id, "a"), key="a")
        earlier = {"broker": t._broker, "stores": t._stores, "schema_registry": t.schema_registry}
    with Driver(app, now=0.0, **earlier) as t:
        t.send(orders, Order("b", 1.0))
        assert [r.value for r in t.output(batches)] == [[["a", 7.0], ["b", 1.0]]]


def test_two_inputs_are_ordered_by_the_times_in_avro() -> None:
    app = flows.App("shop")
    left, right = (app.topic(name, value=Order, key="id", timestamp="at", codec="avro") for name in ("left", "right"))
    both = app.topic("both", value=list)

    @app.agent(left.merge(right), sink=[both])
    async def watch(stream: Any) -> Any:
        async for order in stream:
            yield [order.id, order.at]

    with app.test(now=100.0) as t:
        with t.batch():
            for at in (3.0, 5.0):
                t.send(left, Order("a", 1.0, at))
            for at in (2.0, 4.0):
                t.send(right, Order("a", 1.0, at))
        t.advance("1m")
        assert [r.value[1] for r in t.output(both)] == [2.0, 3.0, 4.0, 5.0]


def test_any_value_can_have_a_schema() -> None:
    app = flows.App("shop")
    numbers = app.topic("numbers", value=int, codec=flows.Avro('"int"'))
    doubles = app.topic("doubles", value=float, codec=flows.Avro("double"))

    @app.agent(numbers, sink=[doubles])
    async def halve(stream: Any) -> Any:
        async for number in stream:
            yield number / 2

    with app.test() as t:
        t.send(numbers, 5)
        assert [r.value for r in t.output(doubles)] == [2.5]


def test_a_schema_that_is_none_is_told_at_the_start() -> None:
    app = flows.App("shop")
    app.topic("orders", codec=flows.Avro({"type": "record"}))
    with pytest.raises(FlowsError, match="what is declared for 'orders-value' is no Avro schema"), app.test():
        pass


async def test_no_registry_is_told_at_the_start() -> None:
    app, _ = shop()
    with pytest.raises(FlowsError, match=r"topic .orders. is written as avro, .*; set schema_registry_url"):
        await Codecs(app.plan()).open()


def test_the_registered_schema_is_part_of_the_plan() -> None:
    _, orders = shop()
    assert orders.node.registered is not None
    assert orders.node.registered.subject == "orders-value"
    assert msgspec.json.decode(orders.node.registered.definition)["name"] == "Order"
