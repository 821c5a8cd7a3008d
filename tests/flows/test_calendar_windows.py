"""Windows of days, weeks and months in a time zone, over changes of the clocks; and windows with an offset."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given

import flows
from flows import count, hopping, tumbling
from tests.drawn import drawn
from tests.flows.histories import CUTS, DECLARED, NAIVE, SECOND, Reading, check, histories, play
from tests.oracle.tables import Aligned, Sent, TableOracle
from tests.oracle.windows import CalendarWindows, Windows

HOUR = 3600 * SECOND
BERLIN = "Europe/Berlin"

SHAPES: dict[str, tuple[Any, Aligned]] = {
    "days": (tumbling("1d", tz=BERLIN, grace="3h"), CalendarWindows("day", 1, 1, BERLIN, 3 * HOUR)),
    "business days": (tumbling("1d", tz=BERLIN, offset="6h"), CalendarWindows("day", 1, 1, BERLIN, hours=6)),
    "days, hopping": (
        hopping("3d", "2d", tz=BERLIN, grace="1d", retention="2d"),
        CalendarWindows("day", 3, 2, BERLIN, 24 * HOUR, 48 * HOUR),
    ),
    "weeks": (tumbling("1w", tz=BERLIN, emit="close"), CalendarWindows("week", 1, 1, BERLIN, closes=True)),
    "weeks from each day": (hopping("1w", "1d", tz=BERLIN), CalendarWindows("day", 7, 1, BERLIN)),
    "months": (tumbling("1mo", retention="5d"), CalendarWindows("month", 1, 1, "UTC", 0, 120 * HOUR)),
    "days, close": (
        hopping("2d", "1d", tz=BERLIN, emit="close", retention=0),
        CalendarWindows("day", 2, 1, BERLIN, 0, 0, closes=True),
    ),
    "offset": (
        hopping("10h", "4h", offset="3h", grace="5h", retention="12h"),
        Windows(10 * HOUR, 4 * HOUR, 5 * HOUR, 12 * HOUR, offset=3 * HOUR),
    ),
    "offset, close": (
        tumbling("8h", offset="6h", emit="close"),
        Windows(8 * HOUR, 8 * HOUR, closes=True, offset=6 * HOUR),
    ),
}


def seconds(text: str, tz: str = BERLIN) -> float:
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(tz)).timestamp()


def stretched(history: list[Sent]) -> list[Sent]:
    """Make hours of a history's seconds, around the end of summer time."""
    begin = seconds("2024-10-20T00:00")
    out = []
    for sent in history:
        at = None if sent.time is None else begin + sent.time / SECOND * 3600
        out.append(Sent(sent.partition, None if at is None else round(at * SECOND), {**sent.fields, "at": at}))
    return out


@pytest.mark.parametrize("shape", SHAPES)
@drawn(10)
@given(histories(2), CUTS)
def test_calendar_windows_over_random_histories(shape: str, history: list[Sent], cuts: list[str]) -> None:
    window, naive = SHAPES[shape]
    oracle = TableOracle(["key"], naive, NAIVE)
    app = flows.App("o")
    topic = app.topic("readings", value=Reading, key="key", timestamp="at", partitions=2)
    table = topic.window(window).agg(**DECLARED).table("t")
    history = stretched(history)
    for sent in history:
        oracle.add(sent)
    with app.test() as t:
        play(t, topic, history, cuts)
        check(t, table, oracle)
        for row in t.table(table).rows():
            assert row["window_end"] == naive.end(round(row["window_start"] * SECOND)) / SECOND


class Hit(flows.Record):
    page: str
    at: float


def test_the_day_on_which_the_clocks_go_back_has_25_hours() -> None:
    app = flows.App("web")
    hits = app.topic("hits", value=Hit, key="page", timestamp="at")
    days = hits.window(tumbling("1d", tz=BERLIN, emit="close")).agg(hits=count()).table("days")
    start, end = seconds("2024-10-27T00:00"), seconds("2024-10-28T00:00")
    assert end - start == 25 * 3600
    with app.test() as t:
        for at in (start - 1, start, start + 3 * 3600, end - 1):
            t.send(hits, Hit("a", at))
        assert [r["window_end"] for r in t.table(days).rows()] == [start]
        t.advance("6s")
        assert t.table(days).get("a") == {"page": "a", "window_start": start, "window_end": end, "hits": 3}


def test_a_day_that_a_zone_skipped_is_in_no_window() -> None:
    app = flows.App("web")
    hits = app.topic("hits", value=Hit, key="page", timestamp="at")
    pairs = hits.window(hopping("2d", "1d", tz="Pacific/Apia", grace="9d")).agg(hits=count()).table("pairs")
    with app.test() as t:
        for day in ("2011-12-29", "2011-12-31", "2012-01-01"):
            t.send(hits, Hit("a", seconds(f"{day}T12:00", "Pacific/Apia")))
        first = seconds("2011-12-28T00:00", "Pacific/Apia")
        found = [((r["window_start"] - first) / 86400, r["hits"]) for r in t.table(pairs).rows()]
        assert found == [(0.0, 1), (1.0, 1), (2.0, 2), (3.0, 1)]
