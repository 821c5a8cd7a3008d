"""Protobuf messages of several versions in one topic, in the test driver: https://protobuf.dev/programming-guides/proto3/#updating."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

import flows
from flows.testing import Driver

F = descriptor_pb2.FieldDescriptorProto
STRING, INT32, INT64, BYTES, DOUBLE = F.TYPE_STRING, F.TYPE_INT32, F.TYPE_INT64, F.TYPE_BYTES, F.TYPE_DOUBLE
Fields = dict[str, tuple[int, Any]]
OLD: Fields = {"id": (1, STRING), "n": (2, INT32), "note": (3, STRING)}


def message(fields: Fields, one_of: tuple[str, ...] = ()) -> Any:
    """Make the class that protoc would of `message Sale` with these fields; `one_of` are those of its oneof `paid`."""
    pool = descriptor_pool.DescriptorPool()
    made = []
    for name, (number, type_) in fields.items():
        more = {"oneof_index": 0} if name in one_of else {}
        made.append(F(name=name, number=number, type=type_, label=F.LABEL_OPTIONAL, **more))
    oneofs = [descriptor_pb2.OneofDescriptorProto(name="paid")] if one_of else []
    sale = descriptor_pb2.DescriptorProto(name="Sale", field=made, oneof_decl=oneofs)
    pool.Add(descriptor_pb2.FileDescriptorProto(name="s.proto", package="s", syntax="proto3", message_type=[sale]))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("s.Sale"))


def driver(own: Any, value: Any = dict) -> Driver:
    """Drive an app that reads a topic of `own` messages and passes the values on."""
    app = flows.App("shop")
    sales = app.topic("sales", value=value, codec=flows.Protobuf(own))
    out = app.topic("out", value=value, codec=flows.Protobuf(own))

    @app.agent(sales, sink=[out])
    async def pass_on(stream: Any) -> Any:
        async for sale in stream:
            yield sale

    return app.test()


def written(by: Any, **values: Any) -> bytes:
    """Return the bytes of another app's record, behind the id of a schema that ours never met."""
    data: bytes = by(**values).SerializeToString()
    return b"\0\0\0\0\x63\0" + data


class Sale(flows.Record):
    id: str
    n: int = 7
    note: str | None = None


class Sold(flows.Record):
    id: str


READS: dict[str, tuple[Fields, Fields, dict[str, Any], Any]] = {
    "a field that is new to the writer": ({**OLD, "new": (9, STRING)}, OLD, {"id": "a", "new": "x"}, Sale("a", 0, "")),
    "a field that the writer lacks": ({"id": (1, STRING)}, OLD, {"id": "a"}, Sale("a", 0, "")),
    "a field that is gone here": (OLD, {"id": (1, STRING)}, {"id": "a", "n": 5}, Sold("a")),
    "another name": ({"id": (1, STRING), "title": (3, STRING)}, OLD, {"id": "a", "title": "x"}, Sale("a", 0, "x")),
    "int32 to int64": (OLD, {**OLD, "n": (2, INT64)}, {"id": "a", "n": -5}, Sale("a", -5, "")),
    "int64 to int32, as C++ casts": ({"id": (1, STRING), "n": (2, INT64)}, OLD, {"n": (1 << 33) + 5}, Sale("", 5, "")),
    "bytes to string": ({"note": (3, BYTES)}, OLD, {"note": b"x"}, Sale("", 0, "x")),
    "a type of other bytes counts as unknown": ({"n": (2, DOUBLE)}, OLD, {"n": 5.0}, Sale("", 0, "")),
}


@pytest.mark.parametrize("case", READS)
def test_a_message_is_read_by_the_numbers_of_its_fields(case: str) -> None:
    theirs, ours, values, found = READS[case]
    with driver(message(ours), type(found)) as t:
        t.send("sales", written(message(theirs), **values))
        assert [r.value for r in t.output("out")] == [found]
        assert t.dead_letters() == []


class Paid(flows.Record):
    id: str
    card: str | None = None
    cash: int | None = None


def test_a_new_member_of_a_oneof_leaves_the_others_unset() -> None:
    ours = {"id": (1, STRING), "card": (2, STRING), "cash": (3, INT32)}
    theirs = message({**ours, "crypto": (4, STRING)}, ("card", "cash", "crypto"))
    with driver(message(ours, ("card", "cash")), Paid) as t:
        t.send("sales", written(theirs, id="a", cash=0))
        t.send("sales", written(theirs, id="b", crypto="x"))
        assert [r.value for r in t.output("out")] == [Paid("a", cash=0), Paid("b")]


def test_a_field_that_moved_into_a_new_oneof_is_read() -> None:
    ours = {"id": (1, STRING), "card": (2, STRING), "cash": (3, INT32)}
    with driver(message(ours, ("card", "cash")), Paid) as t:
        t.send("sales", written(message({"id": (1, STRING), "card": (2, STRING)}), id="a", card="7"))
        assert [r.value for r in t.output("out")] == [Paid("a", card="7")]


def test_a_message_that_is_passed_on_keeps_the_fields_that_it_does_not_know() -> None:
    theirs = message({**OLD, "new": (9, STRING)})
    with driver(message(OLD)) as t:
        t.send("sales", written(theirs, id="a", new="x"))
        (passed_on,) = t.output("out")
        assert theirs.FromString(passed_on.value.SerializeToString()) == theirs(id="a", new="x")


class Texts(flows.Record):
    n: str


class More(flows.Record):
    id: str
    colour: str


REFUSED: dict[str, tuple[Fields, dict[str, Any], Any, str]] = {
    "text that is none": ({"note": (3, BYTES)}, {"note": b"\xff"}, Sale, "no message s.Sale: "),
    "a number for what the Record wants as text": (OLD, {"n": 5}, Texts, "Expected `str`, got `int` - at `$.n`"),
    "what the Record wants and no message has": (OLD, {"id": "a"}, More, "missing required field `colour`"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_a_dead_letter(case: str) -> None:
    theirs, values, record, reason = REFUSED[case]
    bad = written(message(theirs), **values)
    with driver(message(OLD), record) as t:
        t.send("sales", bad)
        (letter,) = t.dead_letters()
        assert letter.value == bad
        assert reason in letter.reason
        assert letter.reason.startswith(f"not a valid {record.__name__}: ")
