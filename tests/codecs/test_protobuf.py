"""Protobuf values: Confluent's bytes, messages and Records, evolution by field numbers, bytes from anywhere."""

from __future__ import annotations

import contextlib
import datetime as dt
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from dsl.codecs import Protobuf
from flows.decode.confluent import decode_path, encode_path
from flows.decode.protobuf import ProtobufCodec
from tests.codecs.messages import Line, OrderMessage, Ping
from tests.drawn import drawn

PAID = "PAID"


class LineOf(flows.Record):
    sku: str
    n: int


class Place(flows.Record):
    city: str


class Order(flows.Record):
    id: str
    amount: float = 0.0
    state: str = "OPEN"
    lines: list[LineOf] = []
    counts: dict[str, int] = {}
    at: dt.datetime | None = None
    took: dt.timedelta | None = None
    note: str | None = None
    place: Place | None = None
    data: bytes = b""
    before: Order | None = None


def codec(message: Any, value: Any = dict, own: int = 258) -> ProtobufCodec:
    return ProtobufCodec(Protobuf(message).value_schema("t"), value, lambda: own, message)


@pytest.mark.parametrize(
    ("path", "data"), [([0], "00"), ([1], "0202"), ([1, 0], "040200"), ([0, 0], "040000"), ([100, 3], "04c80106")]
)
def test_message_indexes(path: list[int], data: str) -> None:
    """The documentation of Confluent's wire format has [1, 0] as 4 2 0, and [0] as the single byte 0."""
    assert encode_path(path).hex() == data
    assert decode_path(bytes.fromhex(data), 0) == (tuple(path), len(data) // 2)


def test_the_bytes_of_the_documentation() -> None:
    """https://protobuf.dev/programming-guides/encoding/ has 150 as 96 01, in field 1 behind 08; "testing" behind 12."""
    assert codec(Ping).encode(Ping(n=150)) == bytes.fromhex("0000000102" + "00" + "089601")
    assert codec(OrderMessage).encode(OrderMessage(id="testing")).hex() == "0000000102" + "0202" + "0a0774657374696e67"
    assert codec(Line).encode(Line(n=150)).hex() == "0000000102" + "040202" + "109601"


def test_a_message_is_its_own_value() -> None:
    order = OrderMessage(id="a", state=PAID, counts={"x": 1})
    assert codec(OrderMessage).decode(codec(OrderMessage).encode(order)) == order


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
_I64 = st.integers(-(1 << 63), (1 << 63) - 1)
_ORDERS = st.builds(
    Order,
    id=_TEXT,
    amount=st.floats(allow_nan=False),
    state=st.sampled_from(["OPEN", PAID]),
    lines=st.lists(st.builds(LineOf, _TEXT, st.integers(-(1 << 31), (1 << 31) - 1)), max_size=3),
    counts=st.dictionaries(_TEXT, _I64, max_size=3),
    at=st.none() | st.datetimes(dt.datetime(1, 1, 3), dt.datetime(9999, 12, 29), timezones=st.just(dt.UTC)),
    took=st.none() | st.timedeltas(dt.timedelta(days=-9999), dt.timedelta(days=9999)),
    note=st.none() | _TEXT,
    place=st.none() | st.builds(Place, _TEXT),
    data=st.binary(max_size=10),
    before=st.none() | st.builds(Order, _TEXT),
)


@drawn(150)
@given(_ORDERS)
def test_a_record_is_written_and_read(order: Order) -> None:
    own = codec(OrderMessage, Order)
    assert own.decode(own.encode(order)) == order


def test_what_is_left_out_is_left_to_the_record() -> None:
    found = codec(OrderMessage, Order).decode(b"\0\0\0\0\x01\x02\x02\x0a\x01a")
    assert found == Order("a")


def test_fields_that_it_does_not_know_are_passed_over() -> None:
    known = b"\0\0\0\0\x07\x02\x02\x0a\x01a"
    assert codec(OrderMessage, Order).decode(known + b"\xa2\x06\x03new") == Order("a")


def test_an_enum_value_that_it_does_not_know_is_a_number() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"Expected `str`, got `int` - at `\$\.state`"):
        codec(OrderMessage, Order).decode(b"\0\0\0\0\x07\x02\x02\x18\x07")


HOSTILE = [
    (b"", "too few"),
    (b"\x08\x96\x01\0\0\0", "the first byte is 8, expected 0, the magic byte"),
    (b"\0\0\0\0\x01", "the bytes end within the message indexes"),
    (b"\0\0\0\0\x01\x04\x02", "the bytes end within the message indexes"),
    (b"\0\0\0\0\x01" + b"\xff" * 10, "a message index is longer than five bytes"),
    (b"\0\0\0\0\x01\xfe\xff\xff\xff\x0f", "message indexes: expected at most 32"),
    (b"\0\0\0\0\x01\x03\x00", "-2 message indexes"),
    (b"\0\0\0\0\x01\x02\x01", "the message index -1 is negative"),
    (b"\0\0\0\0\x01\x02\x02\x0a\x7fab", "no message shop.Order: "),
    (b"\0\0\0\0\x01\x02\x02\x0a\xff\xff\xff\xff\x0fab", "no message shop.Order: "),
    (b"\0\0\0\0\x01\x02\x02\x0a\x01\xff", "no message shop.Order: "),
]


@pytest.mark.parametrize(("data", "reason"), HOSTILE)
def test_bytes_from_anywhere_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        codec(OrderMessage, Order).decode(data)
    assert reason in str(error.value)


def test_a_value_as_deep_as_its_bytes_say_is_refused() -> None:
    data = b""
    for _ in range(400):
        size = len(data)
        data = b"\x5a" + (bytes([size]) if size < 128 else bytes([size & 0x7F | 0x80, size >> 7])) + data
    with pytest.raises(ValueError, match=r"no message shop\.Order"):
        codec(OrderMessage, Order).decode(b"\0\0\0\0\x01\x02\x02" + data)


def test_random_bytes_never_do_worse_than_raise() -> None:
    own, random_ = codec(OrderMessage, Order), random.Random(5)
    for _ in range(3_000):
        with contextlib.suppress(ValueError, OverflowError, msgspec.ValidationError):
            own.decode(b"\0\0\0\0\x01\x02\x02" + random_.randbytes(random_.randrange(80)))


class Extra(flows.Record):
    id: str
    colour: str


def test_what_does_not_fit_is_not_written() -> None:
    with pytest.raises(ValueError, match=r"a message shop\.Order has no field 'colour'"):
        codec(OrderMessage, Extra).encode(Extra("a", "red"))
    with pytest.raises(ValueError, match=r"shop\.Order\.State has no value 'LOST'"):
        codec(OrderMessage, Order).encode(Order("a", state="LOST"))
    with pytest.raises(TypeError, match=r"a message shop\.Ping, expected shop\.Order"):
        codec(OrderMessage).encode(Ping(n=1))
    with pytest.raises(TypeError, match="is made of fields, not of str"):
        codec(OrderMessage, Order).encode("text")


def test_the_plan_alone_reads_and_writes() -> None:
    """As `flows tail` does where only the data folder is there."""
    schema = Protobuf(OrderMessage).value_schema("t")
    assert [name for name, _ in schema.references] == ["shop/parts.proto"]
    own = ProtobufCodec(schema, Order, lambda: 258, None)
    order = Order("a", place=Place("Oslo"), at=dt.datetime(2013, 1, 1, tzinfo=dt.UTC))
    assert own.decode(codec(OrderMessage, Order).encode(order)) == order


def test_in_an_app() -> None:
    app = flows.App("shop")
    orders = app.topic("orders", value=Order, key="id", codec=flows.Protobuf(OrderMessage))
    pings = app.topic("pings", codec=flows.Protobuf(Ping))
    per_state = orders.group_by("state").agg(orders=flows.count()).table("per_state")

    @app.agent(orders, sink=[pings])
    async def ping(stream: Any) -> Any:
        async for order in stream:
            yield Ping(n=len(order.lines))

    with app.test() as t:
        t.send(orders, Order("a", state=PAID, lines=[LineOf("x", 1)]))
        t.send(orders, b"\0\0\0\0\x01\x02\x02\x0a\x7fab")
        assert t.table(per_state).rows() == [{"state": PAID, "orders": 1}]
        assert [r.value for r in t.output(pings)] == [Ping(n=1)]
        assert "no message shop.Order" in t.dead_letters()[0].reason
