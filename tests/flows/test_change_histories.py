"""Random histories through tables behind tables, however they are cut, against the oracle."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given

import flows
from flows import col, count, hopping, last, max, mean, session, std, sum, tumbling, var
from flows.testing import Driver
from tests.drawn import drawn
from tests.flows.histories import CUTS, SECOND, Reading, group, histories, microseconds, play, same
from tests.oracle import aggregates as naive
from tests.oracle import changes as tables
from tests.oracle.tables import Group, Sent, TableOracle
from tests.oracle.windows import Windows

MODEST = drawn(15)
Row = dict[str, Any]


def readings(partitions: int = 2) -> flows.Topic:
    return flows.App("o").topic("readings", value=Reading, key="key", timestamp="at", partitions=partitions)


def sums(column: str) -> dict[str, Any]:
    return {
        "rows": count(),
        "values": count(column),
        "total": sum(column),
        "mean": mean(column),
        "var": var(column),
        "std": std(column),
    }


def naive_sums(column: str) -> dict[str, Any]:
    return {
        "rows": tables.count,
        "values": partial(tables.count, column=column),
        "total": partial(tables.total, column=column),
        "mean": partial(tables.mean, column=column),
        "var": partial(tables.variance, column=column),
        "std": partial(tables.deviation, column=column),
    }


def check_rows(t: Driver, table: flows.Table, expected: dict[Any, Row]) -> None:
    """Compare a table's rows with the expected ones by key, and the last of its changes too."""
    found = {row[table.keys[0]]: row for row in t.table(table).rows()}
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        assert {name: found[key][name] for name in row} == row
    latest = {change.key: change.value for change in t.output(table)}
    assert {key: value for key, value in latest.items() if value is not None} == found


@pytest.mark.parametrize("column", ["n", "x"])
@MODEST
@given(histories(2), CUTS)
def test_rows_move_between_the_groups_of_a_table_over_a_table(
    column: str, history: list[Sent], cuts: list[str]
) -> None:
    topic = readings()
    latest = topic.group_by("key").agg(other=last("other"), n=last("n"), x=last("x")).table("latest")
    grouped = latest.group_by("other", partitions=3).agg(**sums(column)).table("grouped")
    again = grouped.group_by("rows").agg(groups=count(), values=sum("values")).table("again")
    oracle = TableOracle(["key"], None, {n: partial(naive.latest, column=n) for n in ("other", "n", "x")})
    for sent in history:
        oracle.add(sent)
    expected = tables.regrouped(oracle.rows().values(), "other", naive_sums(column))
    with topic.app.test() as t:
        play(t, topic, history, cuts)
        check_rows(t, grouped, expected)
        counted = {"groups": tables.count, "values": partial(tables.total, column="values")}
        check_rows(t, again, tables.regrouped(expected.values(), "rows", counted))


@MODEST
@given(histories(2), CUTS)
def test_rows_that_stay_in_their_task(history: list[Sent], cuts: list[str]) -> None:
    topic = readings()
    table = topic.group_by("key", "other").agg(n=sum("n")).table("t")
    by_key = table.group_by("key").agg(rows=count(), total=sum("n")).table("by_key")
    oracle = TableOracle(["key", "other"], None, {"n": partial(naive.total, column="n")})
    for sent in history:
        oracle.add(sent)
    rows = [{"key": place.key[0], **row} for place, row in oracle.rows().items()]
    aggregates = {"rows": tables.count, "total": partial(tables.total, column="n")}
    with topic.app.test() as t:
        play(t, topic, history, cuts)
        check_rows(t, by_key, tables.regrouped(rows, "key", aggregates))


@pytest.mark.parametrize("emit", ["change", "close"])
@MODEST
@given(histories(2), CUTS)
def test_sessions_that_merge_leave_nothing_behind(emit: str, history: list[Sent], cuts: list[str]) -> None:
    """What the groups show is what the sessions show: removals are subtracted."""
    topic = readings()
    visits = topic.window(session("6s", grace="8s", emit=emit)).agg(n=count()).table("visits")
    by_length = visits.group_by("n").agg(visits=count(), records=sum("n")).table("by_length")
    with topic.app.test() as t:
        play(t, topic, history, cuts)
        counted = {"visits": tables.count, "records": partial(tables.total, column="n")}
        check_rows(t, by_length, tables.regrouped(t.table(visits).rows(), "n", counted))


@pytest.mark.parametrize("shape", ["records", "sessions"])
@MODEST
@given(histories(2), CUTS)
def test_the_last_change_of_each_row_is_the_row(shape: str, history: list[Sent], cuts: list[str]) -> None:
    topic = readings()
    grouped = topic.group_by("key") if shape == "records" else topic.window(session("6s", grace="8s"))
    table = grouped.agg(n=count(), x=max("x")).table("t")
    changes = table.changes(removals=True)
    with topic.app.test() as t:
        play(t, topic, history, cuts)
        latest: dict[Group, Row] = {}
        for change in t.output(changes):
            latest[group(change.value, table.keys)] = change.value
        left = {place: row for place, row in latest.items() if not row["removed"]}
        assert all(row["n"] is None for row in latest.values() if row["removed"])
        rows = {group(row, table.keys): {**row, "removed": False} for row in t.table(table).rows()}
        assert left == rows


FIRST = {
    "tumbling": (tumbling("10s", grace="5s", emit="close"), Windows(10, 10, 5, closes=True)),
    "hopping": (hopping("10s", "4s", grace="3s", emit="close"), Windows(10, 4, 3, closes=True)),
}


@pytest.mark.parametrize("shape", FIRST)
@MODEST
@given(histories(2), CUTS)
def test_windows_over_the_rows_of_closed_windows(shape: str, history: list[Sent], cuts: list[str]) -> None:
    """No row is late, with no grace, and each is counted once."""
    topic = readings()
    window, of_first = FIRST[shape]
    first = topic.window(window).agg(n=count(), x=max("x")).table("first")
    aggregates = {"rows": count(), "records": sum("n"), "x": max("x")}
    second = first.changes().window(tumbling("25s", emit="close")).agg(**aggregates).table("second")
    counts = {"n": partial(naive.count, column=None), "x": partial(naive.largest, column="x")}
    oracle = TableOracle(["key"], Windows(*(v * SECOND if v else v for v in of_first[:3]), closes=True), counts)
    for sent in history:
        oracle.add(sent)
    expected = tables.windows_of_closed_rows(
        oracle,
        Windows(25 * SECOND, 25 * SECOND),
        {
            "rows": partial(naive.count, column=None),
            "records": partial(naive.total, column="n"),
            "x": partial(naive.largest, column="x"),
        },
    )
    with topic.app.test() as t:
        play(t, topic, history, cuts)
        found = {group(row, second.keys): row for row in t.table(second).rows()}
        assert found.keys() == expected.keys()
        assert all(same(found[place][name], row[name]) for place, row in expected.items() for name in row)
        assert t.late(second) == []


@MODEST
@given(histories(2), CUTS)
def test_closed_rows_meet_behind_a_repartition(history: list[Sent], cuts: list[str]) -> None:
    topic = readings()
    window = tumbling("10s", grace="5s", emit="close")
    first = topic.window(window).agg(n=count()).table("first")
    changed = first.changes().filter(col("n") > 1)
    most = changed.group_by("window_start").agg(most=max("n"), keys=count(), records=sum("n")).table("most")
    counts = {"n": partial(naive.count, column=None)}
    oracle = TableOracle(["key"], Windows(10 * SECOND, 10 * SECOND, 5 * SECOND, closes=True), counts)
    for sent in history:
        oracle.add(sent)
    rows = [{"start": p.window, **row} for p, row in oracle.every_row().items() if row["n"] > 1]
    aggregates = {
        "most": lambda found: sorted(row["n"] for row in found)[-1],
        "keys": tables.count,
        "records": partial(tables.total, column="n"),
    }
    expected = tables.regrouped(rows, "start", aggregates)
    with topic.app.test() as t:
        play(t, topic, history, cuts)
        found = {microseconds(row.pop("window_start")): row for row in t.table(most).rows()}
        assert found == expected


@MODEST
@given(histories(2), CUTS)
def test_changes_held_back_end_with_the_row_and_come_once_a_stretch(history: list[Sent], cuts: list[str]) -> None:
    topic = readings()
    table = topic.group_by("key").agg(n=count(), x=max("x")).table("t")
    told = table.emit_every("10s")
    stretches: dict[Any, set[int]] = {}
    oracle = TableOracle(["key"], None, {"n": partial(naive.count, column=None)})
    for sent in history:
        oracle.add(sent)
        now = oracle.stream_time[sent.partition]
        stretches.setdefault(sent.fields["key"], set()).add(now // (10 * SECOND))
    with topic.app.test() as t:
        play(t, topic, history, cuts)
        counts: dict[Any, list[int]] = {}
        for change in t.output(told):
            counts.setdefault(change.key, []).append(change.value["n"])
        assert all(len(found) <= len(stretches[key]) for key, found in counts.items())
        t.advance("1m")
        latest = {key: found[-1] for key, found in counts.items()}
        latest |= {change.key: change.value["n"] for change in t.output(told)}
        assert latest == {place.key[0]: row["n"] for place, row in oracle.rows().items()}
        assert all(found == sorted(set(found)) for found in counts.values())
