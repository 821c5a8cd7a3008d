"""Codecs of a person's own, wherever a value becomes bytes or bytes a value; what they raise refuses the record."""

from __future__ import annotations

import zlib
from typing import Any

import msgspec
import pytest

import flows
from flows import count, tumbling


class Order(flows.Record):
    id: str
    amount: float
    at: float = 0.0


def pack(value: Any) -> bytes:
    return zlib.compress(msgspec.json.encode(value))


def unpack(data: bytes) -> Any:
    return msgspec.json.decode(zlib.decompress(data))


ZIPPED = flows.Codec(pack, unpack, name="zipped")


class Hexed:
    """A codec as a class: `bytes` in hexadecimal."""

    @staticmethod
    def encode(value: bytes) -> bytes:
        return value.hex().encode()

    @staticmethod
    def decode(data: bytes) -> bytes:
        return bytes.fromhex(data.decode())


class Money:
    """A value that JSON does not know."""

    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __repr__(self) -> str:
        return f"Money({self.cents})"


MONEY = flows.Codec(lambda m: str(m.cents).encode(), lambda data: Money(int(data)), name="money")


def test_streams_tables_and_sinks_read_and_write_it() -> None:
    app = flows.App("shop")
    orders = app.topic("orders", value=Order, key="id", timestamp="at", codec=ZIPPED)
    large = app.topic("large", value=Order, key="id", codec=ZIPPED)
    orders.filter(flows.col("amount") > 10).to(large)
    per_id = orders.group_by("id").agg(orders=count()).table("per_id")
    with app.test() as t:
        t.send(orders, Order("a", 5.0))
        t.send(orders, {"id": "b", "amount": 50})
        t.send(orders, pack({"id": "b", "amount": 60.0}))
        assert [(r.key, r.value) for r in t.output(large)] == [("b", Order("b", 50.0)), ("b", Order("b", 60.0))]
        assert t.table(per_id).rows() == [{"id": "a", "orders": 1}, {"id": "b", "orders": 2}]
        assert not t.dead_letters()


def test_what_it_refuses_is_a_dead_letter() -> None:
    app = flows.App("shop")
    orders = app.topic("orders", value=Order, key="id", codec=ZIPPED)
    seen = app.table("seen", value=int, default=int)

    @app.agent(orders)
    async def watch(stream: Any) -> None:
        async for order in stream:
            seen[order.id] += 1

    with app.test() as t:
        t.send(orders, b"not zipped")
        t.send(orders, pack({"id": "a"}))
        t.send(orders, pack(None))
        t.send(orders, Order("a", 1.0))
        letters = t.dead_letters()
        assert [letter.value for letter in letters] == [b"not zipped", pack({"id": "a"}), pack(None)]
        assert "incorrect header check" in letters[0].reason
        assert "missing required field `amount`" in letters[1].reason
        assert "Expected `object`, got `null`" in letters[2].reason
        assert t.table(seen).rows() == [{"key": "a", "value": 1}]


def test_values_of_any_class_go_through_agents() -> None:
    app = flows.App("shop")
    paid, doubled = app.topic("paid", codec=MONEY), app.topic("doubled", codec=MONEY)

    @app.agent(paid, sink=[doubled])
    async def double(stream: Any) -> Any:
        async for money in stream:
            yield Money(money.cents * 2) if money.cents != 13 else "unlucky"

    with app.test() as t:
        t.send(paid, Money(7))
        t.send(paid, Money(13))
        assert [r.value.cents for r in t.output(doubled)] == [14]
        (letter,) = t.dead_letters()
        assert letter.value == b"13"
        assert "codec money raised AttributeError: 'str' object has no attribute 'cents'" in letter.reason


def test_late_records_are_told_as_json() -> None:
    app = flows.App("shop")
    orders = app.topic("orders", value=Order, key="id", timestamp="at", codec=ZIPPED)
    hourly = orders.group_by("id").window(tumbling("1h")).agg(orders=count()).table("hourly")
    with app.test() as t:
        t.send(orders, Order("a", 1.0, 10_000.0))
        t.send(orders, Order("a", 2.0, 5.0))
        assert [r.value for r in t.late(hourly)] == [{"id": "a", "amount": 2.0, "at": 5.0}]


def test_late_values_without_a_form_in_json_are_told_by_their_text() -> None:
    app = flows.App("shop")
    paid = app.topic("paid", codec=MONEY)
    hourly = app.table("hourly", value=int, default=int).tumbling("1h", expires="1h")

    @app.agent(paid)
    async def add(stream: Any) -> None:
        async for money in stream:
            hourly["all"] += money.cents

    with app.test(now=50_000.0) as t:
        t.send(paid, Money(7), at=40_000.0)
        t.send(paid, Money(8), at=5.0)
        assert [r.value for r in t.late(hourly)] == ["Money(8)"]


def test_bytes_are_values_of_a_codec_for_bytes() -> None:
    app = flows.App("shop")
    texts, copies = app.topic("texts", value=bytes, codec=Hexed), app.topic("copies", value=bytes)
    texts.to(copies)
    with app.test() as t:
        t.send(texts, b"\x01\xff")
        assert [r.value for r in t.output(copies)] == [b"\x01\xff"]
        assert [r.value for r in t.output(texts)] == [b"\x01\xff"]


def test_taken_records_come_back_decoded() -> None:
    app = flows.App("shop")
    orders = app.topic("orders", value=Order, key="id", codec=ZIPPED)
    batches = app.topic("batches", value=list)

    @app.agent(orders, sink=[batches])
    async def gather(stream: Any) -> Any:
        async for some in stream.take(2, within="1h"):
            yield [order.id for order in some]

    with app.test() as t:
        t.send(orders, Order("a", 1.0))
        t.crash()
        t.send(orders, Order("b", 1.0))
        assert [r.value for r in t.output(batches)] == [["a", "b"]]


def test_it_encodes_to_bytes() -> None:
    app = flows.App("shop")
    texts = app.topic("texts", codec=flows.Codec(lambda v: v, lambda data: data, name="none"))
    with app.test() as t, pytest.raises(TypeError, match="codec none encoded to str, expected bytes"):
        t.send(texts, "text")
