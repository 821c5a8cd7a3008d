"""The key encoding: it keeps Python's order, gives back what it took, and no key is the beginning of another."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.errors import AgentError, DeclarationError, IncompatibleState, StateCorrupt
from flows.state.keys import RESERVED_PREFIX, KeyCodec, encode_window, prefix_end

INT64 = st.integers(-(2**63), 2**63 - 1)
ZONES = st.timezones() | st.integers(-23, 23).map(lambda hours: timezone(timedelta(hours=hours)))


class Color(Enum):
    RED = "r"
    GREEN = "g"


ORDERED: dict[type, st.SearchStrategy[Any]] = {
    str: st.text(st.characters()) | st.text("\x00\x01a\ud800\U0010ffff"),
    bytes: st.binary() | st.lists(st.sampled_from([0, 1, 254, 255])).map(bytes),
    int: INT64 | st.integers(-3, 3),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    datetime: st.datetimes() | st.datetimes(timezones=ZONES),
    date: st.dates(),
    Decimal: st.decimals(allow_nan=False) | st.decimals(-3, 3, places=1) | INT64.map(Decimal),
    UUID: st.uuids(),
    tuple: st.tuples(st.text("\x00a"), INT64) | st.lists(st.integers(-2, 2)).map(tuple),
}
ALL = {**ORDERED, Color: st.sampled_from(Color)}
DECIMALS = [
    "-Infinity",
    "-1E+40",
    "-10",
    "-1.25",
    "-1.2",
    "-0.01",
    "0",
    "0.009",
    "0.01",
    "1",
    "1.2",
    "1.25",
    "9",
    "1000",
]
WINDOWS = st.integers(-(2**62), 2**62)


def of_one_type(strategies: dict[type, st.SearchStrategy[Any]], count: int) -> st.SearchStrategy[Any]:
    def draw(kind: type) -> st.SearchStrategy[Any]:
        return st.tuples(st.just(kind), *([strategies[kind]] * count))

    return st.sampled_from(sorted(strategies, key=lambda kind: kind.__name__)).flatmap(draw)


@given(of_one_type(ORDERED, 2))
def test_bytes_order_as_python_does(drawn: tuple[type, Any, Any]) -> None:
    kind, first, second = drawn
    codec = KeyCodec((kind,))
    try:
        below, equal = first < second, first == second
    except TypeError:  # a naive and an aware datetime; tuples of different types
        return
    a, b = codec.encode(first), codec.encode(second)
    assert (a < b, a == b) == (below, equal)


@given(of_one_type(ALL, 1), WINDOWS)
def test_a_key_comes_back(drawn: tuple[type, Any], window: int) -> None:
    kind, value = drawn
    assert KeyCodec((kind,)).decode(KeyCodec((kind,)).encode(value)) == value
    windowed = KeyCodec((kind,), windowed=True)
    encoded = windowed.encode(value, window)
    assert windowed.decode(encoded) == value
    assert type(windowed.decode(encoded)) is type(value)
    assert windowed.window(encoded) == window


@given(of_one_type(ALL, 2))
def test_no_key_is_the_beginning_of_another(drawn: tuple[type, Any, Any]) -> None:
    kind, first, second = drawn
    codec = KeyCodec((kind,))
    a, b = codec.encode(first), codec.encode(second)
    assert a == b or not (a.startswith(b) or b.startswith(a))
    assert a < RESERVED_PREFIX


@given(st.lists(st.tuples(ORDERED[str], INT64, st.text("\x00b"), WINDOWS), min_size=2, max_size=2))
def test_windows_and_several_columns_order_like_their_tuple(rows: list[tuple[str, int, str, int]]) -> None:
    codec = KeyCodec((str, int, str), windowed=True)
    a, b = (codec.encode(row[:3], row[3]) for row in rows)
    x, y = ((row[3], *row[:3]) for row in rows)
    assert (a < b, a == b) == (x < y, x == y)


@given(
    st.lists(st.sampled_from(sorted(ALL, key=lambda kind: kind.__name__)), min_size=1, max_size=3).flatmap(
        lambda kinds: st.tuples(
            st.just(tuple(kinds)),
            st.lists(st.tuples(*[st.none() | ALL[kind] for kind in kinds], WINDOWS), max_size=8),
        )
    ),
    st.booleans(),
)
def test_columns_give_the_same_bytes_as_single_keys(
    drawn: tuple[tuple[type, ...], list[tuple[Any, ...]]], windowed: bool
) -> None:
    kinds, rows = drawn
    codec = KeyCodec(kinds, windowed)
    columns = [[row[i] for row in rows] for i in range(len(kinds))]
    windows = [[row[-1] for row in rows]] if windowed else []
    keys = codec.encode_columns(columns, *windows)
    bare = [row[:-1] if len(kinds) > 1 else row[0] for row in rows]
    assert keys == [codec.encode(key, row[-1] if windowed else None) for key, row in zip(bare, rows, strict=True)]
    assert codec.decode_columns(keys) == (columns, windows[0] if windowed else None)


def test_windows_of_two_numbers_order_by_both_and_come_back() -> None:
    codec = KeyCodec((str,), 2)
    ends, starts = [5, -3, 5, 5], [1, -9, -2, 1]
    keys = codec.encode_columns([["b", "a", "c", "a"]], ends, starts)
    assert codec.decode_columns(keys) == ([["b", "a", "c", "a"]], ends)
    assert codec.numbers(keys, 1) == starts
    assert [codec.decode(key) for key in sorted(keys)] == ["a", "c", "a", "b"]
    low, high = codec.window_range(0, 6)
    assert sum(low <= key < high for key in keys) == 3
    with pytest.raises(AgentError):
        codec.encode("a", 5)


@pytest.mark.parametrize("column", [["a", "b\x00c", ""], ["x", None], ["\ud800", "y"], ["plain", "ü"], [""], []])
def test_columns_of_strings_take_the_careful_way_where_they_must(column: list[str | None]) -> None:
    codec = KeyCodec((str,), windowed=True)
    windows = list(range(len(column)))
    keys = codec.encode_columns([column], windows)
    assert keys == [codec.encode(value, window) for value, window in zip(column, windows, strict=True)]
    assert codec.decode_columns(keys) == ([column], windows)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (float, [-math.inf, -1e300, -1.0, -5e-324, 0.0, 5e-324, 1.0, math.inf, math.nan]),
        (int, [-(2**63), -256, -1, 0, 1, 255, 2**63 - 1]),
        (Decimal, [Decimal(text) for text in DECIMALS]),
        (str, ["", "\x00", "\x00\x00", "\x01", "a", "a\x00", "aa", "é", "\ud800", "\uffff", "\U00010000"]),
    ],
)  # fmt: skip
def test_the_edges_of_a_type_are_in_order(kind: type, values: list[Any]) -> None:
    codec = KeyCodec((kind,))
    encoded = codec.encode_columns([values])
    assert encoded == sorted(encoded)
    assert encoded == [codec.encode(value) for value in values]
    assert repr(codec.decode_columns(encoded)[0][0]) == repr(values)


def test_equal_keys_have_equal_bytes() -> None:
    for kind, one, same in [
        (float, 0.0, -0.0),
        (float, 2.0, 2),
        (float, math.nan, -math.nan),
        (int, 1, True),
        (Decimal, Decimal("1.50"), Decimal("1.5")),
        (Decimal, Decimal(3), 3),
        (datetime, datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))),
        (Color, Color.RED, "r"),
    ]:  # fmt: skip
        codec = KeyCodec((kind,))
        assert codec.encode(one) == codec.encode(same) == codec.encode_columns([[same, one]])[0]


def test_types_do_not_mix_in_a_column_of_any_type() -> None:
    codec = KeyCodec((Any,))
    values = [1, True, 1.0, "1", b"1", Decimal(1), (1,), (True,), None]
    encoded = codec.encode_columns([values])
    assert len(set(encoded)) == len(values)
    decoded = codec.decode_columns(encoded)[0][0]
    assert [(type(value), value) for value in decoded] == [(type(value), value) for value in values]


def test_none_comes_first() -> None:
    for kind, values in ORDERED.items():
        codec = KeyCodec((kind,))
        smallest = {str: "", bytes: b"", int: -(2**63), float: -math.inf, bool: False, tuple: ()}.get(kind)
        if smallest is not None:
            assert codec.encode(None) < codec.encode(smallest)
        assert values is not None


def test_a_window_is_one_range() -> None:
    codec = KeyCodec((str,), windowed=True)
    keys = sorted(codec.encode(key, window) for key in ("a", "\x00", "\U0010ffff") for window in (-10, 0, 10, 20))
    start, end = codec.window_range(0, 20)
    assert [codec.window(key) for key in keys if start <= key < end] == [0, 0, 0, 10, 10, 10]
    assert encode_window(-1) < encode_window(0)


def test_a_prefix_spans_its_keys_and_no_others() -> None:
    codec = KeyCodec((str, str))
    keys = sorted(codec.encode(key) for key in [("a", "x"), ("a", ""), ("a\x00", "x"), ("ab", "x"), ("", "a")])
    prefix = codec.prefix("a")
    end = prefix_end(prefix)
    assert end is not None
    assert [codec.decode(key) for key in keys if prefix <= key < end] == [("a", ""), ("a", "x")]


def test_the_end_of_a_prefix() -> None:
    assert prefix_end(b"ab") == b"ac"
    assert prefix_end(b"a\xff\xff") == b"b"
    assert prefix_end(b"\xff") is None
    assert prefix_end(b"") is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: KeyCodec((int,)).encode(2**63), "9223372036854775808 does not fit in 64 bits"),
        (lambda: KeyCodec((int,)).encode_columns([[2**64]]), "18446744073709551616 does not fit in 64 bits"),
        (lambda: KeyCodec((int,)).encode("7"), "'7' is a str, the table's key column a int"),
        (lambda: KeyCodec((int,)).encode(7.0), "7.0 is a float"),
        (lambda: KeyCodec((str,)).encode_columns([["a", 7]]), "7 is a int, the table's key column a str"),
        (lambda: KeyCodec((int,)).encode_columns([[1, 2.5]]), "2.5 is a float"),
        (lambda: KeyCodec((float,)).encode(2**53 + 1), "9007199254740993 is a int"),
        (lambda: KeyCodec((date,)).encode(datetime(2024, 1, 1)), "is a datetime, the table's key column a date"),
        (lambda: KeyCodec((Color,)).encode("blue"), "'blue' is a str, the table's key column a Color"),
        (lambda: KeyCodec((Decimal,)).encode(Decimal("NaN")), "cannot be a key"),
        (lambda: KeyCodec((Any,)).encode([1]), "of type list cannot be a key"),
        (lambda: KeyCodec((str, int)).encode("a"), r"does not have the columns \(str, int\)"),
        (lambda: KeyCodec((str, int)).encode(("a", 1, 2)), r"does not have the columns \(str, int\)"),
        (lambda: KeyCodec((str,), windowed=True).encode("a"), "a window start is needed"),
        (lambda: KeyCodec((str,)).encode("a", 5), "this table has no windows"),
        (lambda: KeyCodec((str,), windowed=True).encode("a", 2**63), "out of range"),
        (lambda: KeyCodec((str, str)).encode_columns([["a"], ["b", "c"]]), "different lengths"),
    ],
)  # fmt: skip
def test_wrong_keys_are_refused_by_name(call: Callable[[], object], message: str) -> None:
    with pytest.raises(AgentError, match=message):
        call()


def test_key_types_are_checked_when_declared() -> None:
    assert KeyCodec((str | None, int | None, tuple[int, str])).types == (str, int, tuple)
    with pytest.raises(DeclarationError, match="cannot have keys of <class 'list'>"):
        KeyCodec((list,))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x99",
        b"\x20\x00",
        b"\x50abc",
        b"\x50a\x00\x02",
        b"\x50\xff\x00\x01",
        b"\x05\x05",
        b"\x30\x03",
        b"\x70",
        b"\x60" + bytes(4),
    ],
)
def test_bytes_that_are_no_key_are_reported(data: bytes) -> None:
    codec = KeyCodec((str,))
    for decode in (codec.decode, lambda data: codec.decode_columns([data])):
        with pytest.raises(StateCorrupt, match="not a state key"):
            decode(data)


def test_a_member_that_an_enum_lost_is_named() -> None:
    stored = KeyCodec((str,)).encode("b")
    with pytest.raises(IncompatibleState, match="the value 'b', which Color does not have"):
        KeyCodec((Color,)).decode(stored)
