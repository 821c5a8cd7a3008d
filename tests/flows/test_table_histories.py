"""Declared tables against the naive oracle: random, disordered histories, cut in many ways."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from flows import col, hopping, tumbling
from tests.drawn import drawn
from tests.flows.histories import CUTS, DECLARED, NAIVE, SECOND, Reading, compare, histories
from tests.oracle.tables import Sent, TableOracle
from tests.oracle.windows import Windows

SHAPES: dict[str, tuple[Any, Windows]] = {
    "tumbling": (tumbling("10s"), Windows(10, 10)),
    "tumbling, grace": (tumbling("10s", grace="7s"), Windows(10, 10, 7)),
    "hopping": (hopping("10s", "5s", grace="3s"), Windows(10, 5, 3)),
    "hopping, uneven": (hopping("10s", "4s", grace="5s"), Windows(10, 4, 5)),
    "hopping, nearly tumbling": (hopping("10s", "9s"), Windows(10, 9)),
    "retention": (tumbling("10s", grace="5s", retention="12s"), Windows(10, 10, 5, 12)),
    "retention of nothing": (hopping("10s", "5s", retention=0), Windows(10, 5, 0, 0)),
    "close": (tumbling("10s", grace="5s", emit="close"), Windows(10, 10, 5, closes=True)),
    "close, hopping": (hopping("10s", "4s", grace="5s", emit="close"), Windows(10, 4, 5, closes=True)),
    "close, retention": (hopping("10s", "5s", emit="close", retention="5s"), Windows(10, 5, 0, 5, closes=True)),
}


def in_microseconds(w: Windows) -> Windows:
    keep = None if w.retention is None else w.retention * SECOND
    return Windows(w.size * SECOND, w.step * SECOND, w.grace * SECOND, keep, w.closes)


@pytest.mark.parametrize("shape", SHAPES)
@drawn(10)
@given(histories(2), CUTS)
def test_windows_of_a_topic_keyed_by_the_group(shape: str, history: list[Sent], cuts: list[str]) -> None:
    window, naive = SHAPES[shape]
    oracle = TableOracle(["key"], in_microseconds(naive), NAIVE)
    compare(lambda topic: topic.window(window).agg(**DECLARED).table("t"), oracle, history, cuts, 2)


@pytest.mark.parametrize("shape", ["tumbling, grace", "hopping, uneven", "retention", "close, retention"])
@drawn(10)
@given(histories(1), CUTS)
def test_windows_behind_a_repartition_of_one_partition(shape: str, history: list[Sent], cuts: list[str]) -> None:
    window, naive = SHAPES[shape]
    oracle = TableOracle(["other"], in_microseconds(naive), NAIVE)

    def table_of(topic: Any) -> Any:
        return topic.group_by("other", partitions=3).window(window).agg(**DECLARED, key=flows.last("key")).table("t")

    compare(table_of, oracle, history, cuts, 1)


@drawn(18)
@given(histories(3), CUTS)
def test_windows_behind_a_repartition_of_several_partitions_with_grace(history: list[Sent], cuts: list[str]) -> None:
    oracle = TableOracle(["other", "text"], in_microseconds(Windows(10, 5, 10_000)), NAIVE)

    def table_of(topic: Any) -> Any:
        window = hopping("10s", "5s", grace="10000s")
        return topic.group_by("other", "text", partitions=2).window(window).agg(**DECLARED).table("t")

    compare(table_of, oracle, history, cuts, 3)


@pytest.mark.parametrize("keys", [["key"], ["other"], ["key", "n"]])
@drawn(10)
@given(histories(3), CUTS)
def test_tables_without_windows(keys: list[str], history: list[Sent], cuts: list[str]) -> None:
    oracle = TableOracle(keys, None, NAIVE)
    compare(lambda topic: topic.group_by(*keys).agg(**DECLARED).table("t"), oracle, history, cuts, 3)


@drawn(18)
@given(histories(2), CUTS, st.integers(-3, 3))
def test_filters_leave_out_records_but_not_their_time(history: list[Sent], cuts: list[str], least: int) -> None:
    def keep(fields: dict[str, Any]) -> bool:
        return fields["n"] is not None and fields["n"] > least

    oracle = TableOracle(["key"], in_microseconds(Windows(10, 5, 3)), NAIVE, keep)

    def table_of(topic: Any) -> Any:
        kept = topic.filter(col("n") > least)
        return kept.window(hopping("10s", "5s", grace="3s")).agg(**DECLARED).table("t")

    compare(table_of, oracle, history, cuts, 2)


@pytest.mark.parametrize("by", ["row", "column"])
@drawn(10)
@given(histories(1), CUTS, st.integers(-3, 3))
def test_what_is_computed_by_row_is_what_is_computed_by_column(
    by: str, history: list[Sent], cuts: list[str], least: int
) -> None:
    def keep(fields: dict[str, Any]) -> bool:
        return fields["n"] is not None and fields["n"] > least

    def kept(reading: Reading) -> Reading | None:
        return reading if reading.n is not None and reading.n > least else None

    oracle = TableOracle(["key"], in_microseconds(Windows(10, 4, 5)), NAIVE, keep)

    def table_of(topic: Any) -> Any:
        stream = topic.map(kept, returns=Reading) if by == "row" else topic.filter(col("n") > least)
        grouped = stream.group_by("key", partitions=3)
        return grouped.window(hopping("10s", "4s", grace="5s")).agg(**DECLARED).table("t")

    compare(table_of, oracle, history, cuts, 1)
