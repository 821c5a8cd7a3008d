"""Avro values: the bytes of the specification, evolution as it resolves schemas, bytes from anywhere."""

from __future__ import annotations

import contextlib
import datetime as dt
import decimal
import enum
import random
import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from dsl.codecs import Avro
from flows.decode.avro import AvroCodec
from flows.decode.base import RegisteredSchema
from tests.drawn import drawn


class Pair(flows.Record):
    """The record of the specification's example of binary encoding."""

    a: int
    b: str


class Colour(enum.Enum):
    RED = "RED"
    GREEN = "GREEN"


class Item(flows.Record):
    name: str
    price: float | None = None


class Whole(flows.Record):
    flag: bool
    number: int
    ratio: float
    text: str
    data: bytes
    moment: dt.datetime
    day: dt.date
    clock: dt.time
    lasts: dt.timedelta
    amount: decimal.Decimal
    id: uuid.UUID
    colour: Colour
    items: list[Item]
    counts: dict[str, int]
    best: Item | None = None
    worst: Item | None = None
    level: int | None = 3
    tags: list[str] = []


def codec(schema: Any = None, value: Any = dict, known: dict[int, Any] | None = None, own: int = 1) -> AvroCodec:
    """Make a codec whose registry holds its own schema and others as `{id: schema}`."""
    declared = Avro(schema).value_schema("t", value)
    texts = {id: RegisteredSchema(msgspec.json.encode(s).decode()) for id, s in (known or {}).items()}
    return AvroCodec(declared, value, lambda: own, {own: RegisteredSchema(declared.definition), **texts})


def record(*fields: tuple[Any, ...], name: str = "R", **more: Any) -> dict[str, Any]:
    made = [{"name": f[0], "type": f[1], **(f[2] if len(f) > 2 else {})} for f in fields]
    return {"type": "record", "name": name, "fields": made, **more}


@pytest.mark.parametrize(
    ("schema", "value", "data"),
    [
        # https://avro.apache.org/docs/1.12.0/specification/#binary-encoding
        ("long", 0, "00"),
        ("long", -1, "01"),
        ("long", 1, "02"),
        ("long", -64, "7f"),
        ("long", 64, "8001"),
        ("string", "foo", "06666f6f"),
        (["null", "string"], None, "00"),
        (["null", "string"], "a", "020261"),
        ({"type": "array", "items": "long"}, [3, 27], "04063600"),
        (record(("a", "long"), ("b", "string")), {"a": 27, "b": "foo"}, "3606666f6f"),
        ({"type": "enum", "name": "Foo", "symbols": ["A", "B", "C", "D"]}, "D", "06"),
        ("boolean", True, "01"),
        ("float", 1.0, "0000803f"),
        ("double", 1.0, "000000000000f03f"),
        ({"type": "fixed", "name": "F", "size": 2}, b"\x01\x02", "0102"),
        ({"type": "map", "values": "long"}, {"a": 1}, "0202610200"),
        (
            {"type": "long", "logicalType": "timestamp-micros"},
            dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC),
            "80897a",
        ),
    ],
)
def test_the_bytes_of_the_specification(schema: Any, value: Any, data: str) -> None:
    found = codec(schema, Any, own=258)
    wire = bytes.fromhex("0000000102" + data)
    assert found.encode(value) == wire
    assert found.decode(wire) == value


def test_a_record_is_written_by_its_derived_schema() -> None:
    assert codec(value=Pair).encode(Pair(27, "foo")) == bytes.fromhex("0000000001" + "3606666f6f")


def test_the_derived_schema() -> None:
    item = record(("name", "string"), ("price", ["null", "double"], {"default": None}), name="Item")
    assert msgspec.json.decode(Avro().value_schema("t", Whole).definition) == record(
        ("flag", "boolean"),
        ("number", "long"),
        ("ratio", "double"),
        ("text", "string"),
        ("data", "bytes"),
        ("moment", {"type": "long", "logicalType": "timestamp-micros"}),
        ("day", {"type": "int", "logicalType": "date"}),
        ("clock", {"type": "long", "logicalType": "time-micros"}),
        ("lasts", "string"),
        ("amount", "string"),
        ("id", {"type": "string", "logicalType": "uuid"}),
        ("colour", {"type": "enum", "name": "Colour", "symbols": ["RED", "GREEN"]}),
        ("items", {"type": "array", "items": item}),
        ("counts", {"type": "map", "values": "long"}),
        ("best", ["null", "Item"], {"default": None}),
        ("worst", ["null", "Item"], {"default": None}),
        ("level", ["long", "null"], {"default": 3}),
        ("tags", {"type": "array", "items": "string"}, {"default": []}),
        name="Whole",
    )


_I64 = st.integers(-(1 << 63), (1 << 63) - 1)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_ITEMS = st.builds(Item, _TEXT, st.none() | st.floats(allow_nan=False))
_WHOLE = st.builds(
    Whole,
    flag=st.booleans(),
    number=_I64,
    ratio=st.floats(allow_nan=False),
    text=_TEXT,
    data=st.binary(max_size=20),
    moment=st.datetimes(dt.datetime(1, 1, 3), dt.datetime(9999, 12, 29), timezones=st.just(dt.UTC)),
    day=st.dates(),
    clock=st.times(),
    lasts=st.timedeltas(dt.timedelta(days=-9999), dt.timedelta(days=9999)),
    amount=st.decimals(allow_nan=False, allow_infinity=False),
    id=st.uuids(),
    colour=st.sampled_from(Colour),
    items=st.lists(_ITEMS, max_size=4),
    counts=st.dictionaries(_TEXT, _I64, max_size=4),
    best=st.none() | _ITEMS,
    worst=st.none() | _ITEMS,
    level=st.none() | _I64,
    tags=st.lists(_TEXT, max_size=4),
)


@drawn(150)
@given(_WHOLE)
def test_what_is_written_is_read(value: Whole) -> None:
    own = codec(value=Whole)
    assert own.decode(own.encode(value)) == value


class Naive(flows.Record):
    at: dt.datetime


def test_a_datetime_without_a_time_zone_is_utc() -> None:
    own = codec(value=Naive)
    assert own.decode(own.encode(Naive(dt.datetime(2013, 1, 1, 5)))) == Naive(dt.datetime(2013, 1, 1, 5, tzinfo=dt.UTC))


READS = [
    ("a new field takes its default", record(("a", "long")), record(("a", "long"), ("b", "long", {"default": 4})), 4),
    ("a field that is gone is passed", record(("x", "string"), ("b", "long")), record(("b", "long")), 7),
    ("int to long", record(("b", "int")), record(("b", "long")), 7),
    ("int to float", record(("b", "int")), record(("b", "float")), 7.0),
    ("int to double", record(("b", "int")), record(("b", "double")), 7.0),
    ("long to double", record(("b", "long")), record(("b", "double")), 7.0),
    ("long to float", record(("b", "long")), record(("b", "float")), 7.0),
    ("float to double", record(("b", "float")), record(("b", "double")), 7.0),
    ("string to bytes", record(("b", "string")), record(("b", "bytes")), b"7"),
    ("bytes to string", record(("b", "bytes")), record(("b", "string")), "7"),
    ("a value to a union", record(("b", "long")), record(("b", ["null", "double"])), 7.0),
    ("a union to a value", record(("b", ["null", "long"])), record(("b", "long")), 7),
    ("an alias of a field", record(("old", "long")), record(("b", "long", {"aliases": ["old"]})), 7),
    (
        "a new field in a record within",
        record(("b", record(("c", "long"), name="In"))),
        record(("b", record(("c", "double"), ("d", "string", {"default": "x"}), name="In"))),
        {"c": 7.0, "d": "x"},
    ),
    ("a union that has more", record(("b", "long")), record(("b", ["string", "long", "boolean"])), 7),
    ("a union that has less", record(("b", ["string", "long", "boolean"])), record(("b", ["null", "long"])), 7),
    ("an alias of the record", record(("b", "long"), name="Old"), record(("b", "long"), aliases=["Old"]), 7),
    ("another namespace", record(("b", "long"), name="com.acme.R"), record(("b", "long")), 7),
    (
        "an enum's default",
        record(("b", {"type": "enum", "name": "E", "symbols": ["X", "Y"]})),
        record(("b", {"type": "enum", "name": "E", "symbols": ["X"], "default": "X"})),
        "X",
    ),
    (
        "items of an array",
        record(("b", {"type": "array", "items": "int"})),
        record(("b", {"type": "array", "items": "double"})),
        [7.0],
    ),
]
_WRITTEN = {"string": "7", "bytes": b"7", "float": 7.0, "array": [7], "enum": "Y", "record": {"c": 7}, "fixed": b"77"}


def written(schema: dict[str, Any]) -> dict[str, Any]:
    kinds = {f["name"]: f["type"] for f in schema["fields"]}
    return {n: _WRITTEN.get(k["type"] if isinstance(k, dict) else str(k), 7) for n, k in kinds.items()}


@pytest.mark.parametrize(("writer", "reader", "found"), [c[1:] for c in READS], ids=[c[0] for c in READS])
def test_evolution(writer: dict[str, Any], reader: dict[str, Any], found: Any) -> None:
    data = codec(writer, own=2).encode(written(writer))
    assert codec(reader, known={2: writer}).decode(data)["b"] == found


FIXED = {"type": "fixed", "name": "F", "size": 2}
REFUSED = [
    ("a new field without default", record(("a", "long")), record(("b", "long")), "No default value for field b"),
    ("another type", record(("b", "string")), record(("b", "long")), "string is not long"),
    ("long to int", record(("b", "long")), record(("b", "int")), "long is not int"),
    ("a null where none may be", record(("b", ["null", "long"])), record(("b", "string")), "null"),
    ("a fixed of another size", record(("b", FIXED)), record(("b", {**FIXED, "size": 3})), "mismatch"),
    ("what the union has no more", record(("b", ["null", "long"])), record(("b", ["null", "string"])), "mismatch"),
    ("another record", record(("b", "long"), name="Other"), record(("b", "long")), "mismatch"),
    (
        "a symbol that is gone",
        record(("b", {"type": "enum", "name": "E", "symbols": ["X", "Y"]})),
        record(("b", {"type": "enum", "name": "E", "symbols": ["X"]})),
        "Y not found in reader symbol list",
    ),
]


@pytest.mark.parametrize(("writer", "reader", "reason"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_what_cannot_be_read_names_the_schema(writer: dict[str, Any], reader: dict[str, Any], reason: str) -> None:
    data = codec(writer, own=2).encode(written(writer))
    with pytest.raises(ValueError, match=r"^schema 2 cannot be read as the topic's: ") as error:
        codec(reader, known={2: writer}).decode(data)
    assert reason in str(error.value)
    assert len(str(error.value)) < 400


class Linked(flows.Record):
    next: Linked | None = None


HOSTILE = [
    (b"", "too few"),
    (b"\0\0\0\0", "too few"),
    (b'{"a": 1}', "the first byte is 123, expected 0, the magic byte"),
    (b"\0\0\0\0\x63\x02", "schema id 99 is unknown to the schema registry"),
    (b"\0\0\0\0\x01", "end within a value of schema 1"),
    (b"\0\0\0\0\x01\x36\x06fo", "end within a value of schema 1"),
    (b"\0\0\0\0\x01\x36" + b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f" + b"x", "end within a value of schema 1"),
    (b"\0\0\0\0\x01\x36\x01x", "schema 1"),
    (b"\0\0\0\0\x01\x36\x02\xff", "UnicodeDecodeError"),
    (b"\0\0\0\0\x01" + b"\xff" * 30, "schema 1"),
    (b"\0\0\0\0\x01\x36\x06foo!", "1 bytes are left over"),
]


@pytest.mark.parametrize(("data", "reason"), HOSTILE)
def test_bytes_from_anywhere_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        codec(value=Pair).decode(data)
    assert reason in str(error.value)


def test_a_value_as_deep_as_its_bytes_say_is_refused() -> None:
    """The compiled reader of fastavro ends the process here."""
    own = codec(value=Linked)
    assert own.decode(own.encode(Linked(Linked()))) == Linked(Linked())
    with pytest.raises(ValueError, match="a value of schema 1 is nested too deeply"):
        own.decode(b"\0\0\0\0\x01" + b"\x02" * 1_000_000 + b"\0")


@pytest.mark.parametrize(
    "items", ["null", record(name="Empty"), {"type": "fixed", "name": "F", "size": 0}, record(("n", "null"))]
)
def test_an_array_of_nothing_has_no_bounds(items: Any) -> None:
    """It would take the reader as long as the bytes like."""
    writer = record(("b", {"type": "array", "items": items}), name="W")
    own = codec(record(("c", "long", {"default": 1}), name="W"), known={2: writer})
    with pytest.raises(ValueError, match="schema 2 is no Avro schema that can be read: it has an array of values"):
        own.decode(b"\0\0\0\0\x02\xfe\xff\xff\xff\xff\xff\xff\xff\x7f")


def test_a_block_of_a_huge_count_ends_with_the_bytes() -> None:
    own = codec({"type": "array", "items": "long"}, Any)
    with pytest.raises(ValueError, match="end within"):
        own.decode(b"\0\0\0\0\x01\xfe\xff\xff\xff\xff\xff\xff\xff\x7f\x02")


def test_random_bytes_never_do_worse_than_raise() -> None:
    own, random_ = codec(value=Whole), random.Random(5)
    for _ in range(3_000):
        data = b"\0\0\0\0\x01" + random_.randbytes(random_.randrange(80))
        with contextlib.suppress(ValueError, msgspec.ValidationError):
            own.decode(data)


@pytest.mark.parametrize(
    "schema", ["{", '{"type": "record"}', '"nothing"', "7", '{"type": "array"}', "[" * 5_000 + "]" * 5_000]
)
def test_a_writers_schema_that_is_none(schema: str) -> None:
    own = codec(value=Pair)
    own._known[2] = RegisteredSchema(schema)  # type: ignore[index]
    with pytest.raises(ValueError, match="schema 2 is no Avro schema that can be read"):
        own.decode(b"\0\0\0\0\x02\x00")


def test_a_schema_of_another_kind() -> None:
    own = codec(value=Pair)
    own._known[2] = RegisteredSchema("message M {}", "PROTOBUF")  # type: ignore[index]
    with pytest.raises(ValueError, match="schema 2 is of PROTOBUF, expected AVRO"):
        own.decode(b"\0\0\0\0\x02\x00")


def test_what_does_not_fit_is_not_written() -> None:
    with pytest.raises(ValueError, match="does not fit its Avro schema"):
        codec(record(("b", "long"))).encode({"b": "x"})
    with pytest.raises(ValueError, match="does not fit its Avro schema"):
        codec(record(("b", "long"))).encode({"b": 1, "c": 2})
    with pytest.raises(ValueError, match="does not fit its Avro schema"):
        codec(value=Pair).encode(Pair(1 << 70, "x"))


def test_schemas_that_refer_to_others() -> None:
    part = msgspec.json.encode(record(("x", "long"), name="Part")).decode()
    whole = msgspec.json.encode(record(("p", "Part"), ("q", "Part"))).decode()
    own = codec(record(("q", record(("x", "double"), name="Part"))))
    own._known[2] = RegisteredSchema(whole, "AVRO", (("Part", part),))  # type: ignore[index]
    assert own.decode(b"\0\0\0\0\x02\x02\x04") == {"q": {"x": 2.0}}
