"""Random histories through tables that tell of each change, or of a stretch's last: the same however they are cut."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

import flows
from flows import count, count_window, fold, hopping, last, max, session, sliding, sum, tumbling
from flows.testing import Driver
from tests.drawn import drawn
from tests.flows.histories import CUTS, SECOND, Reading, histories, play
from tests.oracle.tables import Sent

MODEST = drawn(15)
EVERY = 10 * SECOND
WINDOWS: dict[str, Any] = {
    "none": None,
    "tumbling": tumbling("10s", grace="5s"),
    "hopping": hopping("10s", "4s", grace="9s"),
    "session": session("6s", grace="8s"),
    "sliding": sliding("5s", grace="4s"),
    "count": count_window(3),
}
Told = list[tuple[Any, ...]]


def append(found: list[int], reading: Reading) -> list[int]:
    return [*found, reading.n or 0]


def readings() -> flows.Topic:
    return flows.App("o").topic("readings", value=Reading, key="key", timestamp="at", partitions=2)


def grouped(topic: flows.Topic, shape: str) -> Any:
    groups = topic.group_by("key")
    return groups if WINDOWS[shape] is None else groups.window(WINDOWS[shape])


def told(t: Driver, stream: flows.Stream) -> Told:
    """Return what came, partition by partition, in order."""
    found = [(ord(r.key) % 2, r.key, r.timestamp, *r.value.values()) for r in t.output(stream)]
    return sorted(found, key=lambda row: row[0])


def each(shape: str, history: list[Sent], cuts: list[str], *, emit: str) -> tuple[Told, Told]:
    topic = readings()
    table = grouped(topic, shape).agg(n=count(), x=max("x"), last=last("n")).table("t")
    changes = table.changes(removals=True, emit=emit)
    with topic.app.test() as t:
        play(t, topic, history, cuts)
        return told(t, changes), sorted(tuple(row.values()) for row in t.table(table).rows())


@pytest.mark.parametrize("shape", WINDOWS)
@MODEST
@given(histories(2), CUTS)
def test_each_change_comes_wherever_commits_fall(shape: str, history: list[Sent], cuts: list[str]) -> None:
    found = each(shape, history, cuts, emit="every")
    assert found == each(shape, history, [], emit="every")
    # With a commit for each record that is what all changes are; only those that change no byte do not show there.
    by_commits, _ = each(shape, history, [], emit="change")
    assert set(found[0]) == set(by_commits)


@MODEST
@given(histories(2), CUTS)
def test_counts_and_windows_over_each_change(history: list[Sent], cuts: list[str]) -> None:
    def run(cuts: list[str]) -> tuple[Any, ...]:
        topic = readings()
        each = (
            topic.group_by("key")
            .agg(n=count(), all=fold(list, append, type=list[int]))
            .table("t")
            .changes(emit="every")
        )
        counted = each.group_by("key").agg(changes=count(), total=sum("n")).table("counted")
        by_window = each.window(tumbling("10s", grace="3s")).agg(changes=count(), n=max("n")).table("by_window")
        with topic.app.test() as t:
            play(t, topic, history, cuts)
            late = sorted((r.value["key"], r.timestamp, r.stream_time) for r in t.late(by_window))
            return t.table(counted).rows(), t.table(by_window).rows(), late

    found = run(cuts)
    records: dict[str, int] = {}
    for sent in history:
        if (key := sent.fields["key"]) is not None:
            records[key] = records.get(key, 0) + 1
    totals = {row["key"]: (row["changes"], row["total"]) for row in found[0]}
    assert totals == {key: (n, n * (n + 1) // 2) for key, n in records.items()}
    assert found == run([])


@pytest.mark.parametrize("beside", ["alone", "with each"])
@MODEST
@given(histories(2), CUTS)
def test_what_a_stretch_ends_with_comes_wherever_commits_fall(
    beside: str, history: list[Sent], cuts: list[str]
) -> None:
    topic = readings()
    table = topic.group_by("key").agg(n=count()).table("t")
    stream = table.emit_every("10s")
    others = [table.emit_every("3s")] + ([table.changes(emit="every")] if beside == "with each" else [])
    expected: dict[str, list[int]] = {}
    counts: dict[str, int] = {}
    waiting: list[dict[str, None]] = [{}, {}]
    times: list[int | None] = [None, None]
    for sent in history:
        now, before = times[sent.partition], times[sent.partition]
        if sent.time is not None:
            now = times[sent.partition] = sent.time if before is None or sent.time > before else before
        if now is not None and (before is None or now // EVERY > before // EVERY):
            for key in waiting[sent.partition]:
                expected.setdefault(key, []).append(counts[key])
            waiting[sent.partition].clear()
        if (key := sent.fields["key"]) is not None:
            counts[key] = counts.get(key, 0) + 1
            waiting[sent.partition][key] = None
    with topic.app.test() as t:
        play(t, topic, history, cuts)
        found: dict[str, list[int]] = {}
        for change in t.output(stream):
            found.setdefault(change.key, []).append(change.value["n"])
        assert found == expected
        t.advance("1m")
        left = {change.key: change.value["n"] for change in t.output(stream)}
        assert left == {key: counts[key] for keys in waiting for key in keys}
        for other in others:
            assert {change.key: change.value["n"] for change in t.output(other)} == counts
