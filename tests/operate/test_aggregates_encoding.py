"""Encoded states: msgpack that stays as it is, since it lies in stores and changelogs."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.aggregate import (
    approx_distinct,
    arg_max,
    collect,
    count,
    first,
    histogram,
    last,
    max,
    mean,
    min,
    quantile,
    sum,
    top_k,
    var,
)
from flows.errors import FlowsError
from flows.operate.aggregates import ENCODING, Aggregation
from flows.operate.aggregates.codec import Codec
from flows.operate.aggregates.ragged import Ragged, unzigzag, zigzag
from flows.operate.aggregates.varints import read_varints, write_varints
from tests.drawn import drawn
from tests.operate.aggregate_runs import aggregation, frame, result, run
from tests.oracle.aggregates import Event

VALUES: dict[str, Any] = {
    "int": 7,
    "float": -0.5,
    "str": "é",
    "bool": True,
    "bytes": b"\x00",
    "datetime": dt.datetime(2013, 1, 1, tzinfo=dt.UTC),
    "date": dt.date(2013, 1, 1),
    "duration": dt.timedelta(seconds=1),
}


def event(**values: Any) -> Event:
    return Event("a", 5, 1, 2, VALUES | values)


def state(made: Aggregation, *events: Event) -> bytes:
    return run(made, events)["a"]


def fields(made: Aggregation, *events: Event) -> list[Any]:
    return list(msgspec.msgpack.decode(state(made, *events)))


GOLDEN: dict[str, tuple[Any, str]] = {
    "count": (count(), "92d30000000000000005d30000000000000001"),
    "sum of ints": (sum("int"), "92d30000000000000005d30000000000000007"),
    "sum of floats": (sum("float"), "93d30000000000000005cbbfe0000000000000cb0000000000000000"),
    "mean": (
        mean("float"),
        "94d30000000000000005cbbfe0000000000000cb0000000000000000d30000000000000001",
    ),
    "min": (min("float"), "92d30000000000000005cbbfe0000000000000"),
    "max of text": (max("str"), "9205a2c3a9"),
    "max of bytes": (max("bytes"), "9205c40100"),
    "min of times": (min("datetime"), "92d30000000000000005d30004d22ecf97c000"),
    "min of dates": (min("date"), "92d30000000000000005d30000000000003d5a"),
    "first": (first("bool"), "9505050102c3"),
    "quantile": (quantile("float", 0.5), "9305c408000000000000e0bfc400"),
    "var": (
        var("float"),
        "96d30000000000000005d30000000000000001cbbfe0000000000000cb0000000000000000cb0000000000000000cb0000000000000000",
    ),
    "arg_max": (arg_max("str", by="float"), "9605050102cbbfe0000000000000a2c3a9"),
    "collect": (collect("date"), "950591059101910291cd3d5a"),
    "top_k": (top_k("bytes"), "940591c40100910100"),
    "histogram": (histogram("int", [0, 5]), "920593000001"),
    "approx_distinct": (approx_distinct("int"), "9305c403828908c400"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_states_stay_what_they_are(name: str):
    aggregate, expected = GOLDEN[name]
    made = aggregation(a=aggregate)
    assert ENCODING == 1
    assert state(made, event()).hex() == expected
    assert made.results([bytes.fromhex(expected)]).equals(made.results([state(made, event())]))


def test_a_distribution_in_buckets_is_its_ends_and_varints():
    made = aggregation(a=quantile("float", 0.5))
    _, values, buckets = fields(made, *[event(float=v) for v in [-1.0] * 10 + [0.0] * 20 + [1.0] * 40 + [2.0] * 300])
    assert np.frombuffer(values, "<f8").tolist() == [-1.0, 2.0]
    zigzagged, ten, to_zero, twenty, to_one, forty, to_two, many = read_varints([buckets]).values.tolist()
    assert (zigzagged, ten, to_zero, twenty, to_one, forty) == (2 * 37800 - 1, 10, 37800, 20, 37800, 40)
    assert (to_two, many) == (34, 300)


def test_registers_turn_dense_past_a_quarter():
    made = aggregation(a=approx_distinct("int", precision=4))
    filled = {}
    for end in range(1, 12):
        events = [event(int=i) for i in range(end)]
        _, sparse, dense = fields(made, *events)
        entries = made.load([state(made, *events)])["$s0"][0]
        assert (len(sparse) > 0, len(dense)) == ((True, 0) if len(entries) <= 4 else (False, 16))
        filled[len(entries)] = len(dense)
    assert (filled[4], filled[5]) == (0, 16)


def test_nulls_and_wide_integers_take_the_short_form():
    made = aggregation(total=sum("int"), low=min("int"))
    assert fields(made, event(int=None)) == [5, 0, None]
    assert state(made, event(int=None)).hex() == "930500c0"
    wide = fields(made, *[event(int=2**63 - 1)] * 4)
    assert wide == [5, (2**65 - 4).to_bytes(16, "little", signed=True), 2**63 - 1]


def test_a_row_is_written_the_same_whatever_its_neighbours():
    made = aggregation(total=sum("int"), low=min("int"))
    events = [event(int=v)._replace(key=k) for k, v in [("a", 1), ("b", None), ("c", 2**63 - 1), ("c", 5), ("d", -9)]]
    together = run(made, events)
    assert together == {k: run(made, [e for e in events if e.key == k])[k] for k in "abcd"}
    assert len(together["a"]) == len(together["d"]) == 1 + 3 * 9
    found = result(made, together)
    assert {k: found[k]["total"] for k in "abcd"} == {"a": 1, "b": 0, "c": 2**63 + 4, "d": -9}
    assert run(made, [*events, *events], commits=[5])["b"] == together["b"]


@pytest.mark.parametrize(("total", "size"), [(-(2**63), 19), (2**63 - 1, 19), (-(2**63) - 1, 20), (2**63, 20)])
def test_the_nine_byte_form_holds_64_bits(total: int, size: int):
    made = aggregation(total=sum("int"))
    encoded = state(made, event(int=total // 2), event(int=total - total // 2))
    assert (len(encoded), result(made, {"a": encoded})["a"]["total"]) == (size, total)


def test_more_than_fifteen_fields_are_written_too():
    many = {f"a{i}": aggregate for i, aggregate in enumerate([min("int"), max("int"), sum("float"), first("int")] * 3)}
    made = aggregation(**many, **{f"d{i}": max(kind) for i, kind in enumerate(VALUES)}, z=last("float"), n=count())
    assert len(fields(made, event())) > 15
    row = result(made, {"a": made.combine(state(made, event()), state(made, event(int=9)))})["a"]
    assert (row["a0"], row["a1"], row["a2"], row["n"]) == (7, 9, -1.0, 2)


def test_integers_that_a_sum_could_not_hold_are_refused():
    made = aggregation(total=sum("int"))
    rows = frame(made, [event()])
    with pytest.raises(FlowsError, match=r"integer beyond ±2\^95: -1267650600228229401496703205376; make the column"):
        made.partial(rows.with_columns(pl.Series("$a0", [-(2**100)], dtype=pl.Int128)), ["key"])
    narrow = rows.with_columns(pl.Series("$a0", [7], dtype=pl.UInt8))
    assert made.merge([None], made.partial(narrow, ["key"])) == [state(made, event())]


def test_an_unknown_aggregate_is_named():
    call = msgspec.structs.replace(aggregation(n=count()).calls[0], function="cuont")
    with pytest.raises(
        FlowsError, match=r"aggregate n=cuont\(\) is unknown; use one of approx_distinct, arg_max, arg_min, c"
    ):
        Aggregation([call])


NUMBERS = st.lists(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 300), max_size=5), max_size=6)


@drawn(60)
@given(NUMBERS)
def test_varints_read_back(rows: list[list[int]]):
    flat = np.array([v for row in rows for v in row], np.uint64)
    lengths = np.array([len(row) for row in rows], np.int64)
    blobs = write_varints(Ragged(flat, lengths))
    assert blobs == [b"".join(map(leb128, row)) for row in rows]
    back = read_varints(blobs)
    assert (back.values.tolist(), back.lengths.tolist()) == (flat.tolist(), lengths.tolist())


def leb128(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + leb128(rest) if rest else bytes([low])


@drawn(60)
@given(st.lists(st.lists(st.integers(-(2**40), 2**40), max_size=4), max_size=6))
def test_steps_and_zigzag_undo(rows: list[list[int]]):
    ragged = Ragged(np.array([v for row in rows for v in row], np.int64), np.array([len(r) for r in rows], np.int64))
    steps = ragged.steps()
    assert Ragged.of_steps(steps, ragged.lengths).values.tolist() == ragged.values.tolist()
    assert unzigzag(zigzag(ragged.values)).tolist() == ragged.values.tolist()
    assert Ragged.of_series(ragged.to_series("a")).values.tolist() == ragged.values.tolist()
    assert ragged.to_series("a").to_list() == rows


INTS = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-(2**63), 2**63 - 1])


@drawn(60)
@given(st.lists(st.tuples(INTS, st.none() | INTS | st.integers(-(2**95), 2**95), st.none() | st.floats())))
def test_the_codec_reads_what_it_wrote(rows: list[tuple[int, int | None, float | None]]):
    codec = Codec([("t", pl.Int64), ("i", pl.Int64), ("f", pl.Float64)])
    times, ints, floats = ([row[i] for row in rows] for i in range(3))
    columns = [
        pl.Series("t", times, dtype=pl.Int64),
        pl.Series("i", ints, dtype=pl.Int128),
        pl.Series("f", floats, dtype=pl.Float64),
    ]
    states = codec.encode(columns)
    back = codec.decode(states)
    assert back["t"].to_list() == times
    assert back["i"].to_list() == ints
    assert back["f"].equals(columns[2], null_equal=True)
    even = [i is not None and f is not None and -(2**63) <= i < 2**63 for _, i, f in rows]
    assert [len(state) == 1 + 3 * 9 for state in states] == even
    one_by_one = [codec.encode([c[i : i + 1] for c in columns])[0] for i in range(len(rows))]
    assert one_by_one == states
