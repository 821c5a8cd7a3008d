"""One stream split by content, taken apart into many records, and sent through a topic of its own."""

from __future__ import annotations

from collections.abc import Iterator

import flows
from flows import col, count

app = flows.App("words", partitions=2)


class Line(flows.Record):
    text: str
    importance: int | None


class Word(flows.Record):
    word: str


def words(line: Line) -> Iterator[Word]:
    for word in line.text.split():
        yield Word(word)


lines = app.topic("lines", value=Line)
split = app.topic("split", value=Word, key="word")
urgent = app.topic("urgent", value=Line)

loud, plain, rest = lines.branch(col("importance") > 5, col("importance") > 0)
loud.to(urgent)
plain.flat_map(words).through(split).group_by("word").agg(times=count()).table("times")
rest.flat_map(words).group_by("word").agg(times=count()).table("of_no_importance")
