"""Dictionary tables in agents: all that a dictionary does, what can be kept there, and how it is read again."""

from __future__ import annotations

import copy
import datetime as dt
import enum
import math
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

import flows


class Size(flows.Record):
    n: int


class Colour(enum.StrEnum):
    RED = "red"


def run(app_table: Callable[[flows.App], Any], body: Callable[[Any, Any], Any], *inputs: Any) -> tuple[Any, Any, Any]:
    """Run `body(table, input)` as an agent over inputs; return the rows, what it returned, and the dead letters."""
    app = flows.App("a")
    steps = app.topic("steps", value=dict)
    out = app.topic("out", value=dict)
    table = app_table(app)

    @app.agent(steps, sink=[out], retries=0, tables=[table])
    async def agent(stream):
        async for step in stream:
            yield {"out": body(table, step["in"])}

    with app.test() as t:
        for each in inputs:
            t.send(steps, {"in": each})
        first = t.table(table).rows()
        t.rebalance()
        assert t.table(table).rows() == first
        return first, [r.value["out"] for r in t.output(out)], [d.reason for d in t.dead_letters()]


def test_a_dictionary_has_what_a_dictionary_has() -> None:
    def body(d: Any, n: int) -> Any:
        if n == 0:
            d["b"] = 2
            d.update({"c": 3}, a=1)
            return [list(d), list(d.values()), [list(i) for i in d.items()], "a" in d, "x" in d, len(d)]
        if n == 1:
            found = [
                d.pop("a"),
                d.pop("a", None),
                d.setdefault("e", 5),
                d.setdefault("e", 6),
                d.get("z"),
                d.get("z", 7),
            ]
            del d["b"]
            return [*found, list(d.keys())]
        if n == 2:
            return [_error(lambda: d["a"]), _error(lambda: d.pop("a")), _error(lambda: d.__delitem__("a"))]
        d.clear()
        d["last"] = n
        return list(d)

    rows, out, dead = run(lambda app: app.table("d", value=int), body, 0, 1, 2, 3)
    assert dead == []
    assert out == [
        [["a", "b", "c"], [1, 2, 3], [["a", 1], ["b", 2], ["c", 3]], True, False, 3],
        [1, None, 5, 5, None, 7, ["c", "e"]],
        ["KeyError", "KeyError", "KeyError"],
        ["last"],
    ]
    assert rows == [{"key": "last", "value": 3}]


def _error(call: Callable[[], Any]) -> str:
    try:
        call()
    except Exception as error:  # noqa: BLE001
        return type(error).__name__
    return "none"


def test_reading_a_default_stores_nothing_and_changing_it_does() -> None:
    def body(d: Any, n: int) -> Any:
        if n == 0:
            return [d["x"], "x" in d, d.get("x"), list(d), len(d), _error(lambda: d.__delitem__("x")), d.pop("x", 9)]
        if n == 1:
            d["x"].append(1)
            return [d["x"], "x" in d, list(d)]
        del d["x"]
        return [d["x"], "x" in d, list(d.items())]

    rows, out, dead = run(lambda app: app.table("d", value=list[int], default=list), body, 0, 1, 2)
    assert dead == []
    assert out == [[[], False, None, [], 0, "KeyError", 9], [[1], True, ["x"]], [[], False, []]]
    assert rows == []


def test_values_changed_in_place_count_as_written() -> None:
    def body(d: Any, n: int) -> Any:
        if n == 0:
            d["x"] = {"list": [1], "n": {}}
        elif n == 1:
            d["x"]["list"].append(2)
        elif n == 2:
            for value in d.values():
                value["n"]["deep"] = True
        elif n == 3:
            value = d["x"]
            d["x"] = {"list": []}
            value["list"].append(99)
        return d["x"]

    rows, out, _ = run(lambda app: app.table("d", value=dict), body, 0, 1, 2, 3, 4)
    assert out[:3] == [{"list": [1], "n": {}}, {"list": [1, 2], "n": {}}, {"list": [1, 2], "n": {"deep": True}}]
    assert out[3:] == [{"list": []}, {"list": []}]
    assert rows == [{"key": "x", "value": {"list": []}}]


@pytest.mark.parametrize(
    ("key", "value", "stored", "reason"),
    [
        (str, int, "5", "Expected `int`, got `str`"),
        (str, int, 2**64, "can't serialize ints"),
        (str, Any, 2**64, "can't serialize ints"),
        (str, list[int], [1, "2"], "Expected `int`, got `str` - at `$[1]`"),
        (str, Size, {"m": 1}, "missing required field `n`"),
        (str, Any, {1, 2}, "a set would come back as a list; declare the table's values, app.table('d', value=…)"),
        (str, Any, Counter(a=1), "a Counter would come back as a dict"),
        (str, Any, Decimal("1.5"), "a Decimal would come back as a str"),
        (str, Any, Size(1), "a Size would come back as a dict"),
        (str, Any, object(), "Encoding objects of type object is unsupported"),
        (str, Any, "x" * 900_001, "a value of 900006 bytes, more than 900000; split it"),
        (str, str, "€" * 400_000, "a value of 1200005 bytes, more than 900000"),
        (str, Any, ["x" * 1_000_000], "bytes, more than 900000"),
        (int, Any, 1, "key 'k' is str, declared key=int"),
    ],
)
def test_what_cannot_be_kept_is_the_records_fault(key: Any, value: Any, stored: Any, reason: str) -> None:
    def body(d: Any, n: int) -> Any:
        if n == 1:
            d["k"] = stored
        return n

    rows, out, dead = run(lambda app: app.table("d", key=key, value=value), body, 0, 1, 2)
    assert (rows, out) == ([], [0, 2])
    (found,) = dead
    assert reason in found


def test_what_becomes_wrong_in_place_is_the_records_fault_and_taken_back_whole() -> None:
    def body(d: Any, n: int) -> Any:
        d["a"].append(n)
        d["b"].append("two" if n == 2 else n)
        return n

    rows, out, dead = run(lambda app: app.table("d", value=list[int], default=list), body, 1, 2, 3)
    assert out == [1, 3]
    assert [r["value"] for r in rows] == [[1, 3], [1, 3]]
    assert "value [1, 'two'] does not fit value=list[int]: Expected `int`, got `str`" in dead[0]


@pytest.mark.parametrize(
    ("value_type", "stored", "read"),
    [
        (Any, (1, [2]), [1, [2]]),
        (tuple[int, ...], (1, 2), (1, 2)),
        (set[int], {1, 2}, {1, 2}),
        (float, 1, 1.0),
        (float | None, None, None),
        (Decimal, Decimal("1.50"), Decimal("1.50")),
        (dt.datetime, dt.datetime(2013, 1, 1, tzinfo=dt.UTC), dt.datetime(2013, 1, 1, tzinfo=dt.UTC)),
        (dt.date, dt.date(2013, 1, 1), dt.date(2013, 1, 1)),
        (Size, Size(3), Size(3)),
        (Colour, Colour.RED, Colour.RED),
        (str, Colour.RED, "red"),
        (dict[str, Size], {"a": Size(3)}, {"a": Size(3)}),
        (int | str, "x", "x"),
        (bytes, b"\x00", b"\x00"),
        (bool, True, True),
        (int, 2**64 - 1, 2**64 - 1),
        (float, math.inf, math.inf),
    ],
)
def test_a_value_is_read_the_same_by_the_next_record_and_after_a_restart(
    value_type: Any, stored: Any, read: Any
) -> None:
    for restart in (False, True):
        app = flows.App("a")
        steps = app.topic("steps", value=dict)
        table = app.table("d", value=value_type)
        seen: list[Any] = []

        @app.agent(steps, tables=[table])
        async def agent(stream, table=table, seen=seen):
            async for step in stream:
                if step["n"] == 0:
                    table["k"] = copy.copy(stored)
                else:
                    seen.append(table["k"])

        with app.test() as t:
            t.send(steps, {"n": 0})
            if restart:
                t.crash()
            t.send(steps, {"n": 1})
            assert seen == [read]
            assert type(seen[0]) is type(read)
            assert t.table(table).get("k") == read


def test_equal_keys_are_one_key_whatever_was_read_before() -> None:
    def body(d: Any, n: int) -> Any:
        key = [1, 1.0, True][n]
        d[key] += 1
        return list(d)

    table = lambda app: app.table("d", key=int, value=int, default=int)  # noqa: E731
    rows, out, dead = run(table, body, 1, 0, 2, 0)
    assert (rows, out, dead) == ([{"key": 1, "value": 4}], [[1]] * 4, [])


@pytest.mark.parametrize(
    ("key", "given"), [(int, 1.5), (int, "1"), (str, 1), (str, None), (float, math.nan), (int, 2**64)]
)
def test_keys_of_another_type_are_the_records_fault(key: Any, given: Any) -> None:
    def body(d: Any, n: int) -> Any:
        d[given] = n
        return n

    rows, out, dead = run(lambda app: app.table("d", key=key, value=int), body, 1)
    assert (rows, out, len(dead)) == ([], [], 1)
    assert "key" in dead[0]


def test_tuples_as_keys() -> None:
    def body(d: Any, n: int) -> Any:
        d["a", n] = n
        return [list(k) for k in d]

    rows, out, _ = run(lambda app: app.table("d", key=tuple[str, int], value=int), body, 2, 1)
    assert out == [[["a", 2]], [["a", 1], ["a", 2]]]
    assert rows == [{"key": ("a", 1), "value": 1}, {"key": ("a", 2), "value": 2}]


def test_changes_come_in_order_and_a_removal_as_none() -> None:
    app = flows.App("a")
    steps = app.topic("steps", value=dict)
    d = app.table("d", value=int, default=int)

    @app.agent(steps, retries=0)
    async def agent(stream):
        async for step in stream:
            d["x"] += 1
            if step["n"] == 3:
                del d["x"]
            if step["n"] == 4:
                d["fresh"] = 1
                raise ValueError

    with app.test() as t:
        for n in range(5):
            t.send(steps, {"n": n})
        assert [(c.key, c.value) for c in t.output(d)] == [("x", 1), ("x", 2), ("x", 3), ("x", None)]
