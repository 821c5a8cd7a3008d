"""One record into many, and one stream into several: nothing twice, nothing lost, refused whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from flows import col, collect, count
from tests.drawn import drawn
from tests.flows.histories import CUTS, Reading, histories, play
from tests.oracle.tables import Sent


class Word(flows.Record):
    word: str
    place: int = 0


class Line(flows.Record):
    text: str
    n: int | None = None


def words(line: Any) -> Iterator[Word]:
    for place, word in enumerate(line.text.split()):
        if word == "!":
            raise ValueError("an odd word")
        yield Word(word, place) if word != "?" else 5  # type: ignore[misc]


def letters(reading: Any) -> list[Word]:
    return [Word(letter, reading.n or 0) for letter in (reading.text or "")]


@drawn(25)
@given(histories(2), CUTS)
def test_many_records_of_one_are_counted_once_each(history: list[Sent], cuts: list[str]) -> None:
    app = flows.App("o")
    readings = app.topic("readings", value=Reading, key="key", timestamp="at", partitions=2)
    table = readings.flat_map(letters).group_by("word", partitions=3).agg(n=count()).table("t")
    keyed = [s for s in history if s.fields["key"] is not None]
    with app.test() as t:
        play(t, readings, keyed, cuts)
        found = {row["word"]: row["n"] for row in t.table(table).rows()}
    assert found == Counter(letter for s in keyed for letter in s.fields["text"] or "")


@drawn(25)
@given(histories(2), CUTS, st.integers(-3, 3))
def test_each_record_is_in_one_branch(history: list[Sent], cuts: list[str], bound: int) -> None:
    app = flows.App("o")
    readings = app.topic("readings", value=Reading, key="key", timestamp="at", partitions=2)
    streams = readings.branch(col("n") > bound, col("x") > 0)
    tables = [s.group_by("key").agg(n=count()).table(f"t{place}") for place, s in enumerate(streams)]
    expected: list[Counter[str]] = [Counter(), Counter(), Counter()]
    for sent in history:
        n, x, key = (sent.fields[name] for name in ("n", "x", "key"))
        if key is not None:
            expected[0 if n is not None and n > bound else 1 if x is not None and x > 0 else 2][key] += 1
    with app.test() as t:
        play(t, readings, history, cuts)
        assert [{row["key"]: row["n"] for row in t.table(table).rows()} for table in tables] == expected


@pytest.mark.parametrize("batch", [1, 9])
def test_what_does_not_fit_is_refused_with_all_of_its_record(batch: int) -> None:
    app = flows.App("o")
    lines = app.topic("lines", value=Line)
    out = app.topic("out", value=Word)
    lines.flat_map(words).to(out)
    texts = ["a b", "c !", "d ?", "", "e"]
    with app.test() as t:
        for start in range(0, len(texts), batch):
            with t.batch():
                for text in texts[start : start + batch]:
                    t.send(lines, Line(text))
        assert [r.value.word for r in t.output(out)] == ["a", "b", "e"]
        assert [(d.offset, d.reason) for d in t.dead_letters()] == [
            (1, "ValueError: an odd word"),
            (2, "returned int, expected Words"),
        ]


def test_items_that_no_column_holds_are_refused_with_their_record() -> None:
    app = flows.App("o")
    lines = app.topic("lines", value=Line)
    out = app.topic("out", value=Word)
    lines.flat_map(lambda line: [Word("first"), Word(5 if line.text == "odd" else line.text)], returns=Word).to(out)
    with app.test() as t:
        with t.batch():
            for text in ("a", "odd", "b"):
                t.send(lines, Line(text))
        assert [r.value.word for r in t.output(out)] == ["first", "a", "first", "b"]
        assert [(d.offset, d.reason) for d in t.dead_letters()] == [(1, "returned word=5, which is no String")]


def test_records_of_one_keep_their_order_and_time() -> None:
    app = flows.App("o")
    lines = app.topic("lines", value=Line)
    split = lines.flat_map(words)
    table = split.with_columns(all=1).group_by("all").agg(words=collect("word")).table("t")
    with app.test() as t:
        t.send(lines, Line("a b c"), at=5.0)
        t.send(lines, Line("d e"), at=4.0)
        assert t.table(table).get(1)["words"] == ["d", "e", "a", "b", "c"]
        assert {r.timestamp for r in t.output(split)} == {4.0, 5.0}


def test_through_a_topic() -> None:
    app = flows.App("o")
    lines = app.topic("lines", value=Line)
    between = app.topic("between", value=Word, key="word", partitions=3)
    table = lines.flat_map(words).through(between).group_by("word").agg(n=count()).table("t")
    assert "t.group_by" not in app.plan().nodes
    with app.test() as t:
        t.send(lines, Line("a b a"))
        t.send(between, Word("a"))
        assert {r["word"]: r["n"] for r in t.table(table).rows()} == {"a": 3, "b": 1}
