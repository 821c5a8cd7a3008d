"""Folds: functions of a person's own, in the order of the partition, wherever batches, commits and crashes fell."""

from __future__ import annotations

from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given

import flows
from dsl.plan.types import schema_of
from flows import count, fold, hopping
from flows.compile.tables import TableDecoder
from flows.errors import FlowsError
from flows.operate.aggregates import Aggregation
from flows.state.keys import KeyCodec
from tests.drawn import drawn
from tests.flows.histories import CUTS, SECOND, Reading, check, histories, play
from tests.oracle.tables import Sent, TableOracle, Windows


def changes(seen: list[Any], reading: Any) -> list[Any]:
    """Keep what differs from the value before: it depends on the order, and no two results of it can be merged."""
    seen.append([reading.n, len(seen)])
    return seen[-4:]


def naively(events: Any) -> list[Any]:
    seen: list[Any] = []
    for event in events:
        seen = [*seen, [event.values["n"], len(seen)]][-4:]
    return seen


@pytest.mark.parametrize("window", [None, hopping("10s", "4s", grace="5s")], ids=["no window", "hopping"])
@drawn(18)
@given(histories(2), CUTS)
def test_records_are_folded_in_the_order_of_their_partition(window: Any, history: list[Sent], cuts: list[str]) -> None:
    naive = None if window is None else Windows(10 * SECOND, 4 * SECOND, 5 * SECOND)
    oracle = TableOracle(["key"], naive, {"seen": naively})
    app = flows.App("o")
    topic = app.topic("readings", value=Reading, key="key", timestamp="at", partitions=2)
    grouped = topic.group_by("key")
    table = (grouped.window(window) if window else grouped).agg(seen=fold(list, changes)).table("t")
    for sent in history:
        oracle.add(sent)
    with app.test() as t:
        play(t, topic, history, cuts)
        check(t, table, oracle)


class Tagged(flows.Record):
    user: str
    n: int
    tags: list[str] = []


def odd(total: int, event: Any) -> int:
    if event.n == 0:
        raise ValueError("zero")
    return total + event.n if event.n > 0 else None  # type: ignore[return-value]


@pytest.mark.parametrize("batch", [1, 2, 9])
def test_a_record_that_a_step_refuses_is_dead_lettered_and_the_rest_folded(batch: int) -> None:
    app = flows.App("o")
    events = app.topic("events", value=Tagged, key="user")
    table = events.group_by("user").agg(total=fold(0, odd)).table("t")
    sent = [3, 0, 4, -1, 5]
    with app.test() as t:
        for start in range(0, len(sent), batch):
            with t.batch():
                for n in sent[start : start + batch]:
                    t.send(events, Tagged("a", n))
        assert t.table(table).rows() == [{"user": "a", "total": 12}]
        assert [(d.offset, d.reason) for d in t.dead_letters()] == [
            (1, "total: ValueError: zero"),
            (3, "total: ValidationError: Expected `int`, got `None`"),
        ]


def longest(best: Tagged | None, event: Any) -> Tagged | None:
    return event if best is None or len(event.tags) > len(best.tags) else best


def test_a_step_sees_all_columns_behind_a_repartition_too() -> None:
    app = flows.App("o")
    events = app.topic("events", value=Tagged)
    tags = fold([], lambda tags, event: sorted({*tags, *event.tags}), type=list[str])
    table = events.group_by("user").agg(tags=tags).table("t")
    with app.test() as t:
        t.send(events, Tagged("a", 1, ["x", "y"]))
        t.send(events, Tagged("a", 1, ["w", "y"]))
        assert t.table(table).rows() == [{"user": "a", "tags": ["w", "x", "y"]}]


def test_an_accumulator_may_be_a_record() -> None:
    app = flows.App("o")
    events, out = app.topic("events", value=Tagged, key="user"), app.topic("out", value=dict)
    table = events.group_by("user").agg(best=fold(None, longest), n=count()).table("t").to(out)
    with app.test() as t:
        for tags in ([], ["x", "y"], ["z"]):
            t.send(events, Tagged("a", 1, tags))
        assert t.table(table).rows() == [{"user": "a", "best": Tagged("a", 1, ["x", "y"]), "n": 3}]
        assert t.output(out)[-1].value["best"]["tags"] == ["x", "y"]


def test_sql_sees_accumulators_as_columns() -> None:
    app = flows.App("o")
    topic = app.topic("events", value=Tagged, key="user")
    topic.group_by("user").agg(n=fold(0, odd), tags=fold(list, odd, type=list[str])).table("t")
    entry = KeyCodec((str,)).encode_columns([["a"]])[0], msgspec.msgpack.encode((0, b"\x05", b"\x91\xa1x"))
    frame = TableDecoder(app.plan(), "t").frame([entry])
    assert frame.schema == {"user": pl.String(), "n": pl.Int64(), "tags": pl.List(pl.String())}
    assert frame.rows() == [("a", 5, ["x"])]


def made(merge: Any) -> Aggregation:
    declared = fold(0, lambda total, event: total + event.n, merge)
    assert declared.fold is not None
    return Aggregation([declared.bind("total", schema_of(Tagged))], {"total": declared.fold})


def test_two_accumulators_meet_by_merge_only() -> None:
    states = [msgspec.msgpack.encode((1, b"\x05")), msgspec.msgpack.encode((2, b"\x07"))]
    joined = made(lambda earlier, later: earlier * 10 + later)
    assert joined.results([joined.combine(*states)])["total"].to_list() == [57]
    with pytest.raises(FlowsError, match=r"total=fold\(...\) has two accumulators to merge; give it merge="):
        made(None).combine(*states)
