"""Stored bytes become rows and columns."""

from __future__ import annotations

from typing import Any

import msgspec
import polars as pl
import pytest

from dsl.plan.explain import explain_json, plan_from_json
from dsl.plan.types import Kind
from flows.compile.tables import TableDecoder, table_decoders
from flows.query.columns import column
from flows.query.rows import select_rows, window_starts
from tests.query.airport_data import HOUR, Streak, delay_entries, dict_entries, plan

DELAYS = {("AA", 1): [1.0, 3.0], ("UA", 1): [None], ("AA", 2): [10.0]}
ROWS = [
    {"carrier": "AA", "window_start": 3600.0, "window_end": 7200.0, "flights": 2, "mean_delay": 2.0},
    {"carrier": "UA", "window_start": 3600.0, "window_end": 7200.0, "flights": 1, "mean_delay": None},
    {"carrier": "AA", "window_start": 7200.0, "window_end": 10800.0, "flights": 1, "mean_delay": 10.0},
]


def test_a_declared_table() -> None:
    decoder, entries = TableDecoder(plan(), "delays"), delay_entries(DELAYS)
    assert decoder.rows(entries) == ROWS
    assert decoder.frame(entries).to_dicts() == ROWS
    assert decoder.key(entries[0][0]) == {"carrier": "AA", "window_start": 3600.0, "window_end": 7200.0}
    assert decoder.info.columns == (
        ("carrier", "str"),
        ("window_start", "float"),
        ("window_end", "float"),
        ("flights", "int"),
        ("mean_delay", "float?"),
    )
    assert decoder.info.partitions == (0, 1)


@pytest.mark.parametrize("table", ["delays", "in_a_row", "streaks", "notes"])
def test_an_empty_table_has_its_columns(table: str) -> None:
    decoder = TableDecoder(plan(), table)
    assert decoder.rows([]) == []
    assert decoder.frame([]).columns == [name for name, _ in decoder.info.columns]


def test_dictionary_tables() -> None:
    decoders = table_decoders(plan())
    counts = dict_entries("in_a_row", {"EWR": 5, "JFK": 0})
    assert decoders["in_a_row"].rows(counts) == [{"key": "EWR", "value": 5}, {"key": "JFK", "value": 0}]
    assert decoders["in_a_row"].frame(counts).schema == {"key": pl.String(), "value": pl.Int64()}

    worst = dict_entries("streaks", {("EWR", 1): Streak(2), ("EWR", 2): Streak(3, 61.5)})
    assert decoders["streaks"].rows(worst)[1] == {"key": ("EWR", 2), "value": Streak(3, 61.5)}
    assert decoders["streaks"].frame(worst).to_dicts() == [
        {"key": '["EWR",1]', "value": {"length": 2, "worst": None}},
        {"key": '["EWR",2]', "value": {"length": 3, "worst": 61.5}},
    ]


def test_the_plan_from_a_file_decodes_without_types() -> None:
    stored = table_decoders(plan_from_json(explain_json(plan())))
    assert stored["delays"].rows(delay_entries(DELAYS)) == ROWS
    worst = dict_entries("streaks", {("EWR", 1): Streak(2)})
    assert stored["streaks"].rows(worst) == [{"key": ("EWR", 1), "value": {"length": 2, "worst": None}}]
    assert stored["streaks"].frame(worst).equals(TableDecoder(plan(), "streaks").frame(worst))


def test_rows_are_selected_newest_window_first() -> None:
    decoder, entries = TableDecoder(plan(), "delays"), delay_entries(DELAYS)
    assert select_rows(decoder, entries) == [ROWS[2], ROWS[0], ROWS[1]]
    assert select_rows(decoder, entries, limit=1) == [ROWS[2]]
    assert select_rows(decoder, entries, limit=0) == []
    assert select_rows(decoder, entries, window=3600.0) == ROWS[:2]
    assert select_rows(decoder, entries, key="A", window=3600.0) == ROWS[:2]
    assert select_rows(decoder, entries, key="U") == [ROWS[1]]
    assert window_starts(decoder, entries) == [7200.0, 3600.0]
    assert window_starts(decoder, entries, limit=1) == [7200.0]
    assert window_starts(TableDecoder(plan(), "in_a_row"), dict_entries("in_a_row", {"a": 1})) == []


def test_a_key_is_searched_for_beyond_the_first_chunk() -> None:
    entries = dict_entries("in_a_row", {f"k{i:05}": i for i in range(5000)})
    decoder = TableDecoder(plan(), "in_a_row")
    assert select_rows(decoder, entries, key="k04999", limit=1) == [{"key": "k04999", "value": 4999}]


def test_windows_before_the_epoch() -> None:
    entries = delay_entries({("AA", -1): [1.0]})
    decoder = TableDecoder(plan(), "delays")
    assert decoder.rows(entries)[0]["window_start"] == -HOUR / 1e6


@pytest.mark.parametrize(
    ("values", "kind", "dtype", "shown"),
    [
        ([1, None], Kind.INT, pl.Int64(), [1, None]),
        ([2**63], Kind.INT, pl.String(), ["9223372036854775808"]),
        (["a", None], Kind.STR, pl.String(), ["a", None]),
        ([1, 2.5], Kind.FLOAT, pl.Float64(), [1.0, 2.5]),
        ([None, None], Kind.OTHER, pl.String(), [None, None]),
        ([], Kind.OTHER, pl.String(), []),
        ([1, 2.5], Kind.OTHER, pl.Float64(), [1.0, 2.5]),
        ([1, "a"], Kind.OTHER, pl.String(), ["1", '"a"']),
        ([{"a": 1}, None, {"a": None}], Kind.OTHER, pl.Struct({"a": pl.Int64()}), [{"a": 1}, None, {"a": None}]),
        ([{"a": 1}, {"b": 1}], Kind.OTHER, pl.String(), ['{"a":1}', '{"b":1}']),
        ([{"a": 1}, {"a": "x"}], Kind.OTHER, pl.String(), ['{"a":1}', '{"a":"x"}']),
        ([{}], Kind.OTHER, pl.String(), ["{}"]),
        ([[1], []], Kind.OTHER, pl.List(pl.Int64()), [[1], []]),
        ([("a", 1)], Kind.OTHER, pl.String(), ['["a",1]']),
        ([[{"a": [1]}]], Kind.OTHER, pl.List(pl.Struct({"a": pl.List(pl.Int64())})), [[{"a": [1]}]]),
        (["not a number"], Kind.INT, pl.String(), ['"not a number"']),
    ],
)
def test_columns_hold_what_the_values_are(values: list[Any], kind: Kind, dtype: pl.DataType, shown: list[Any]) -> None:
    series = column("c", values, kind)
    assert series.dtype == dtype
    assert series.to_list() == shown


def test_json_text_can_be_read_back() -> None:
    values = [{"a": float("nan"), "b": b"\xff", "c": (1, 2)}, 7]
    texts = column("c", values, Kind.OTHER).to_list()
    assert msgspec.json.decode(texts[0]) == {"a": None, "b": "/w==", "c": [1, 2]}
