"""Dictionary tables with windows: Faust's names and meanings, and what Faust got wrong put right."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest

import flows
from flows import DeclarationError
from flows.compile.tables import table_decoders
from flows.query.live import ChangeHub
from flows.query.sql import run_sql
from flows.run.live_tables import LiveTables


class View(flows.Record):
    page: str
    at: float
    seen: Any = None


class Site:
    """An app with a table of counts, and what one agent sees of it at each record."""

    def __init__(self, windows: Any, see: Any = None, write: Any = None, **declared: Any) -> None:
        self.app = flows.App("site")
        self.views = self.app.topic("views", value=View, key="page", timestamp="at")
        self.out = self.app.topic("out", value=dict)
        declared = {"value": int, "default": int} | declared
        self.counts = windows(self.app.table("counts", **declared))
        write = write or _add_one

        @self.app.agent(self.views, sink=[self.out], tables=[self.counts], retries=0)
        async def count(stream):
            async for event in stream.events():
                write(self.counts, event)
                yield {"saw": see(self.counts, event) if see else None}

    def run(self, *times: float, now: float | None = None) -> tuple[list[Any], list[dict[str, Any]]]:
        with self.app.test(now=now) as t:
            for at in times:
                t.send(self.views, {"page": "a"}, at=at)
            assert t.dead_letters() == []
            rows = t.table(self.counts).rows()
            t.rebalance()
            assert t.table(self.counts).rows() == rows
            return [r.value["saw"] for r in t.output(self.out)], rows


def _add_one(counts: Any, event: Any) -> None:
    counts[event.value.page] += 1


def bounds(rows: list[dict[str, Any]]) -> list[tuple[float, float, Any]]:
    return [(r["window_start"], r["window_end"], r["value"]) for r in rows]


def test_adding_touches_every_window_of_the_event() -> None:
    _, rows = Site(lambda t: t.hopping(10, 5)).run(12.0)
    assert bounds(rows) == [(5.0, 15.0, 1), (10.0, 20.0, 1)]


@pytest.mark.parametrize("size", [0.1, 0.5, 1.5])
def test_sizes_below_a_second_and_broken_ones_work(size: float) -> None:
    """Faust fails below one second, and never reads windows of 1.5 s back."""
    times = [0.0, size / 2, size, size * 1.5]
    saw, rows = Site(lambda t: t.tumbling(size), lambda t, e: t[e.value.page].current()).run(*times)
    assert saw == [1, 2, 1, 2]
    assert bounds(rows) == [(0.0, size, 2), (size, 2 * size, 2)]


def test_no_event_falls_between_two_windows() -> None:
    """Faust's ranges end at start + size − 0.1."""
    _, rows = Site(lambda t: t.tumbling(60)).run(125.5, 179.95, 179.999, 180.0)
    assert bounds(rows) == [(120.0, 180.0, 3), (180.0, 240.0, 1)]


def test_now_current_delta_and_value_read_the_newest_window_of_their_time() -> None:
    site = Site(
        lambda t: t.tumbling("1m").relative_to_now(),
        lambda t, e: [t["a"].now(), t["a"].current(), t["a"].delta("1m"), t["a"].delta(0), t["a"].value()],
        lambda t, e: t["a"].apply(lambda old, new: old + new, 1, e) if e.value.at < 100 else t["a"].__iadd__(10),
    )
    # At the clock's 200 s: the first two go by the clock too, since the table does.
    saw, rows = site.run(30.0, 90.0, 130.0, now=200.0)
    assert saw == [[1, 0, 0, 1, 1], [2, 0, 0, 2, 2], [12, 0, 0, 12, 12]]
    assert bounds(rows) == [(180.0, 240.0, 12)]


def test_delta_goes_by_the_event() -> None:
    saw, _ = Site(lambda t: t.tumbling("1m"), lambda t, e: t["a"].delta(dt.timedelta(minutes=1))).run(30.0, 50.0, 90.0)
    assert saw == [0, 0, 2]


@pytest.mark.parametrize(
    ("field", "seen"),
    [("seen", 65.0), (View.seen, "1970-01-01T00:01:05Z"), ("seen", 65)],  # type: ignore[misc]
)
def test_windows_of_a_field_go_by_the_field(field: Any, seen: Any) -> None:
    """In Faust `delta` ignores the field, and its windows expire by the wall clock."""
    site = Site(
        lambda t: t.tumbling(60, expires=0).relative_to_field(field),
        lambda t, e: [t["a"].delta(5), t["a"].delta(6), list(t.items().delta(5))],
    )
    with site.app.test(now=1e9) as t:
        t.send(site.views, {"page": "a", "seen": seen}, at=5.0)
        t.advance("1h")
        assert [r.value["saw"] for r in t.output(site.out)] == [[1, 0, [["a", 1]]]]
        assert bounds(t.table(site.counts).rows()) == [(60.0, 120.0, 1)]


def test_a_field_that_is_no_time_is_told() -> None:
    site = Site(lambda t: t.tumbling(60).relative_to_field("sen"))
    with site.app.test() as t:
        t.send(site.views, {"page": "a"}, at=5.0)
        (letter,) = t.dead_letters()
    assert "field 'sen' of the record in hand is no time: None" in letter.reason


def test_one_moment() -> None:
    _, rows = Site(lambda t: t.tumbling(60).relative_to(dt.datetime(1970, 1, 1, 0, 2, tzinfo=dt.UTC))).run(5.0)
    assert bounds(rows) == [(120.0, 180.0, 1)]


def test_a_window_can_be_named() -> None:
    def write(counts: Any, event: Any) -> None:
        if event.value.at == 0.0:
            counts["a"][60.0, 120.0] = 5
        elif event.value.at == 1.0:
            counts["a"][60.0, 120.0] += 1
        elif event.value.at == 2.0:
            del counts["a"][60.0, 120.0]
        else:
            counts["a"][event] += 3

    saw, rows = Site(lambda t: t.tumbling(60), lambda t, e: t["a"][60.0, 120.0], write).run(0.0, 1.0, 2.0, 3.0)
    assert saw == [5, 6, 0, 0]
    assert bounds(rows) == [(0.0, 60.0, 3)]


def test_a_window_that_is_none_is_told() -> None:
    site = Site(lambda t: t.tumbling(60), lambda t, e: t["a"][5.0, 65.0])
    with site.app.test() as t:
        t.send(site.views, {"page": "a"}, at=5.0)
        (letter,) = t.dead_letters()
    assert "table 'counts' has no window (5.0, 65.0): its windows are tumbling(1m)" in letter.reason


def test_it_is_set_removed_and_looked_for_like_a_dictionary() -> None:
    def write(counts: Any, event: Any) -> None:
        if event.value.at == 1.0:
            counts["a"] = 7
            counts["b"] = 8
        elif event.value.at == 6.0:
            del counts["a"]

    saw, rows = Site(
        lambda t: t.hopping(10, 5),
        lambda t, e: ["a" in t, sorted(t), list(t.values()), [list(i) for i in t.items().delta(5)], len(t)],
        write,
    ).run(1.0, 3.0, 6.0)
    assert saw == [
        [True, ["a", "b"], [7, 8], [["a", 7], ["b", 8]], 2],
        [True, ["a", "b"], [7, 8], [["a", 7], ["b", 8]], 2],
        [False, [], [], [["b", 8]], 0],
    ]
    assert [(r["key"], r["window_start"]) for r in rows] == [("a", -5.0), ("b", -5.0), ("b", 0.0)]


def test_values_may_be_changed_in_place() -> None:
    site = Site(
        lambda t: t.tumbling(10, expires=10),
        write=lambda t, e: t["a"].current().append(e.value.at),
        value=list[float],
        default=list,
    )
    with site.app.test() as t:
        for at in (1.0, 2.0, 12.0, 40.0, 3.0):
            t.send(site.views, {"page": "a"}, at=at)
        assert bounds(t.table(site.counts).rows()) == [(40.0, 50.0, [40.0])]
        assert [r.windows for r in t.late(site.counts)] == [[0.0]]


def test_windows_expire_by_event_time_with_tombstones_also_after_a_restart() -> None:
    """In Faust by the wall clock, so that backfills vanish; without tombstones; and never after a restart."""
    site = Site(lambda t: t.tumbling(10, expires=20))
    with site.app.test(now=1e9) as t:
        t.send(site.views, {"page": "a"}, at=5.0)
        t.send(site.views, {"page": "a"}, at=29.9)
        t.advance("1h")
        assert bounds(t.table(site.counts).rows()) == [(0.0, 10.0, 1), (20.0, 30.0, 1)]
        t.rebalance()
        t.output(site.counts)
        t.send(site.views, {"page": "a"}, at=30.0)
        assert bounds(t.table(site.counts).rows()) == [(20.0, 30.0, 1), (30.0, 40.0, 1)]
        # Restored from the changelog alone: what expired is deleted there too.
        t.rebalance()
        assert bounds(t.table(site.counts).rows()) == [(20.0, 30.0, 1), (30.0, 40.0, 1)]
        assert sorted((c.window, c.value and c.value["value"]) for c in t.output(site.counts)) == [
            (0.0, None),
            (30.0, 1),
        ]


def test_expires_may_be_shorter_than_the_window() -> None:
    _, rows = Site(lambda t: t.tumbling(10, expires=0)).run(5.0, 9.0, 10.0)
    assert bounds(rows) == [(10.0, 20.0, 1)]


def test_sql_and_the_web_show_its_windows() -> None:
    site = Site(lambda t: t.tumbling(10))
    with site.app.test() as t:
        for at in (1.0, 2.0, 15.0):
            t.send(site.views, {"page": "a"}, at=at)
        live = LiveTables("w", table_decoders(site.app.plan()), lambda: t._tasks, ChangeHub())

        async def ask() -> Any:
            (info,) = live.list()
            found = await run_sql("SELECT key, window_start, window_end, value FROM counts ORDER BY 2", live)
            newest = await live.rows("counts", window=10.0)
            return info, found.rows, await live.windows("counts"), newest

        info, rows, starts, newest = asyncio.run(ask())
    assert (info.kind, info.window, info.keys) == ("dictionary", "tumbling(10s)", ("key",))
    assert [name for name, _ in info.columns] == ["key", "window_start", "window_end", "value"]
    assert rows == [("a", 0.0, 10.0, 2), ("a", 10.0, 20.0, 1)]
    assert starts == [10.0, 0.0]
    assert newest == [{"key": "a", "window_start": 10.0, "window_end": 20.0, "value": 1}]


def test_another_window_is_another_table() -> None:
    from dsl.plan.fingerprint import describe, differences

    plans = [Site(w).app.plan() for w in (lambda t: t.tumbling(10), lambda t: t.tumbling(20), lambda t: t)]
    ten, twenty, none = (describe(plan, "counts") for plan in plans)
    assert differences(ten, twenty) == ["window was tumbling(10s), is tumbling(20s)"]
    assert differences(ten, none) == ["window was tumbling(10s), is none"]
    assert differences(ten, describe(Site(lambda t: t.tumbling(10, expires=5)).app.plan(), "counts")) == []


def test_the_table_without_its_windows_is_refused() -> None:
    app = flows.App("site")
    views = app.topic("views", value=View, key="page", timestamp="at")
    plain = app.table("counts", value=int, default=int)
    plain.tumbling(10)

    @app.agent(views, retries=0)
    async def count(stream):
        async for view in stream:
            plain[view.page] += 1

    with app.test() as t:
        t.send(views, {"page": "a"}, at=1.0)
        (letter,) = t.dead_letters()
    assert "table 'counts' has windows, and key 'a' names none; use what .tumbling(…)" in letter.reason


def test_outside_of_a_record_there_is_no_event_time() -> None:
    app = flows.App("site")
    views, out = app.topic("views", value=View, key="page", timestamp="at"), app.topic("out", value=dict)
    counts = app.table("counts", value=int, default=int).tumbling(10)

    @app.agent(views)
    async def count(stream):
        async for view in stream:
            counts[view.page] += 1

    @app.timer("1s")
    async def report() -> None:
        try:
            counts["a"].current()
        except ValueError as error:
            await out.send({"now": counts["a"].now(), "error": str(error)})

    with app.test(now=100.0) as t:
        t.send(views, {"page": "a"}, at=100.0)
        t.advance("1s")
        (record,) = t.output(out)
    assert record.value["now"] == 1
    assert "there is no record with one in hand" in record.value["error"]
    with pytest.raises(RuntimeError, match="inside agents and timers only"):
        counts["a"] = 1


def test_declarations_say_what_is_wrong() -> None:
    app = flows.App("site")
    table = app.table("a", value=int)
    table.tumbling(5)
    with pytest.raises(DeclarationError, match=r"table 'a' has windows already: tumbling\(5s\)"):
        table.hopping(5, 1)
    with pytest.raises(DeclarationError, match="say when"):
        app.table("b", on_window_close=print).tumbling(5)
