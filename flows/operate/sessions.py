"""Which records make a session: those of a key with no more than the gap between one and the next.

Most batches are cut columnar. Where a record comes so late that a session in its reach may be closed, the order of
records decides, and the sessions of its key are followed record by record (`follow`). Both give the same sessions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import polars as pl

from flows.operate.base import TIME, WINDOW
from flows.operate.open_windows import FIRST, GROUP, LAST, Pair

SESSION = "$session"


def cut(rows: pl.DataFrame, keys: Sequence[str], gap: int) -> pl.DataFrame:
    """Return rows by key and time with `$window`: when the session of a row begins, as far as these rows tell."""
    rows = rows.sort([*keys, TIME], maintain_order=True)
    begins = pl.any_horizontal(
        *(pl.col(key).ne_missing(pl.col(key).shift()) for key in keys),
        pl.col(TIME).diff().fill_null(gap + 1) > gap,
    )
    return rows.with_columns(pl.when(begins).then(pl.col(TIME)).forward_fill().alias(WINDOW))


def join(spans: pl.DataFrame, gap: int) -> pl.DataFrame:
    """Add `$session` to spans (`$group`, `$first`, `$last`): one number for those that are in reach of each other."""
    rows = spans.with_row_index("$place").sort(GROUP, FIRST)
    reach = pl.col(LAST).cum_max().over(GROUP).shift() + gap
    begins = pl.col(GROUP).ne_missing(pl.col(GROUP).shift()) | (pl.col(FIRST) > reach)
    numbered = rows.with_columns(begins.fill_null(True).cum_sum().cast(pl.Int64).alias(SESSION))
    return numbered.sort("$place").drop("$place")


class Span(NamedTuple):
    """A session: its first and last record, the places of its records in the batch, the stored ones that it took."""

    first: int
    last: int
    rows: list[int]
    stored: list[Pair]


class Followed(NamedTuple):
    """What became of a key's records: the sessions that they are in, the late ones, and what is open afterwards."""

    sessions: list[Span]
    late: list[int]
    open: list[Pair]


def follow(stored: Iterable[Pair], records: Iterable[tuple[int, int, int]], gap: int, grace: int) -> Followed:
    """Follow one key's sessions record by record: (place, event time, stream time).

    A record joins the sessions that are open and no further than the gap from it, as in Kafka Streams. It is late
    where the session that it makes with them is closed already: last record + gap + grace < stream time.
    """
    sessions = [Span(first, last, [], [(first, last)]) for first, last in stored]
    ended: list[Span] = []
    late: list[int] = []
    for place, time, now in records:
        near, others = [], []
        for session in sessions:
            if session.last + gap + grace < now:
                ended.append(session)
            elif session.first <= time + gap and session.last >= time - gap:
                near.append(session)
            else:
                others.append(session)
        sessions = others
        if near or time + gap + grace >= now:
            sessions.append(_merged(near, place, time))
        else:
            late.append(place)
    touched = [s for s in (*ended, *sessions) if s.rows]
    return Followed(touched, late, [(s.first, s.last) for s in sessions])


def _merged(near: list[Span], place: int, time: int) -> Span:
    if not near:
        return Span(time, time, [place], [])
    first, last = min(time, *(s.first for s in near)), max(time, *(s.last for s in near))
    _, _, rows, stored = near[0]
    for other in near[1:]:
        rows += other.rows
        stored += other.stored
    rows.append(place)
    return Span(first, last, rows, stored)
