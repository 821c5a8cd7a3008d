"""Windows of processing time: the clock ends them, no record is late, and no later holder goes back behind it."""

from __future__ import annotations

import pytest

import flows
from flows import count, first, last, max, session, sum, tumbling
from flows.brokers.memory import MemoryBroker
from flows.errors import FlowsError
from flows.testing import Driver

START = 1_700_000_000.0


class Click(flows.Record):
    user: str
    at: float | None = None
    n: int = 1


def clicked(app: flows.App, **more: int) -> flows.Topic:
    return app.topic("clicks", value=Click, key="user", timestamp="at", **more)


def test_event_times_do_not_count() -> None:
    clicks = clicked(flows.App("a"))
    table = clicks.window(tumbling("10s", time="processing")).agg(n=count(), sum=sum("n")).table("t")
    with Driver(clicks.app, now=START) as t:
        for at in (START - 1e6, None, START, 5.0):
            t.send(clicks, Click("ada", at, 2))
            t.advance("4s")
        assert [(r["window_start"], r["n"], r["sum"]) for r in t.table(table).rows()] == [
            (START, 3, 6),
            (START + 10, 1, 2),
        ]
        assert t.late(table) == []
        assert t.dead_letters() == []


def test_the_clock_alone_ends_a_window() -> None:
    clicks = clicked(flows.App("a"))
    window = tumbling("10s", time="processing", emit="close")
    table = clicks.window(window).agg(n=count()).table("t")
    out = clicks.app.topic("out", value=dict)
    table.changes().to(out)
    with Driver(clicks.app, now=START + 1) as t:
        t.send(clicks, Click("ada", 7.0))
        t.advance("8s")
        assert t.table(table).rows() == []
        t.advance("1s")
        assert [(r["window_end"], r["n"]) for r in t.table(table).rows()] == [(START + 10, 1)]
        (told,) = t.output(out)
        assert (told.timestamp, told.value["n"]) == (START + 1, 1)


@pytest.mark.parametrize("keys", ["stays", "moves"])
def test_behind_a_repartition_and_before_another_table(keys: str) -> None:
    clicks = clicked(flows.App("a", partitions=3))
    source = clicks if keys == "stays" else clicks.with_columns(who=flows.col("user"))
    key = "user" if keys == "stays" else "who"
    window = tumbling("10s", time="processing", emit="close")
    first_table = source.group_by(key).window(window).agg(n=count()).table("first")
    second = first_table.changes().with_columns(all=1).group_by("all", partitions=1)
    total = second.window(tumbling("20s", emit="close")).agg(users=count(), n=sum("n")).table("second")
    with Driver(clicks.app, now=START) as t:
        for i in range(12):
            t.send(clicks, Click(f"u{i % 5}", 1.0 * i))
            t.advance("3s")
            if i % 5 == 4:
                t.crash()
        t.advance("1m")
        found = [(r["window_start"], r["users"], r["n"]) for r in t.table(total).rows()]
        assert found == [(START, 7, 7), (START + 20, 5, 5)]
        assert t.late(total) == []


def test_sessions_of_the_clock() -> None:
    clicks = clicked(flows.App("a"))
    table = clicks.window(session("5s", time="processing", emit="close")).agg(n=count(), f=first("n"), l=last("n"))
    visits = table.table("visits")
    with Driver(clicks.app, now=START) as t:
        for n, pause in enumerate((3, 5, 6, 1)):
            t.send(clicks, Click("ada", 1.0, n))
            t.advance(pause)
        t.advance("6s")
        found = [
            (r["window_start"] - START, r["window_end"] - START, r["n"], r["f"], r["l"]) for r in t.table(visits).rows()
        ]
        assert found == [(0.0, 8.0, 3, 0, 2), (14.0, 14.0, 1, 3, 3)]


def test_what_died_with_its_commit_is_taken_again_later() -> None:
    clicks = clicked(flows.App("a"))
    table = clicks.window(tumbling("10s", time="processing")).agg(n=count()).table("t")
    with Driver(clicks.app, now=START + 9) as t:
        with t.batch():
            t.send(clicks, Click("ada"))
            t.crash()  # it was in hand
            t.clock.advance(2.0)
        assert [(r["window_start"] - START, r["n"]) for r in t.table(table).rows()] == [(10.0, 1)]


def test_a_clock_that_is_behind_opens_no_window_again() -> None:
    broker = MemoryBroker()
    window = tumbling("10s", time="processing", emit="close")

    def app() -> tuple[flows.Topic, flows.Table, flows.Topic]:
        clicks = clicked(flows.App("a"))
        table = clicks.window(window).agg(n=count(), at=max("n")).table("t")
        return clicks, table, clicks.app.topic("out", value=dict)

    clicks, table, out = app()
    table.changes().to(out)
    with Driver(clicks.app, now=START + 8, broker=broker) as t:
        t.send(clicks, Click("ada", n=1))
        t.advance("2s")
        assert len(t.table(table).rows()) == 1
    clicks, table, out = app()
    table.changes().to(out)
    with Driver(clicks.app, now=START + 3, broker=broker) as t:
        t.send(clicks, Click("ada", n=2))
        assert [r["n"] for r in t.table(table).rows()] == [1]
        t.advance("17s")
        assert [(r["window_start"] - START, r["at"]) for r in t.table(table).rows()] == [(0.0, 1), (10.0, 2)]
        assert [(told.value["window_start"] - START, told.value["n"]) for told in t.output(out)] == [
            (0.0, 1),
            (10.0, 1),
        ]


def test_another_time_is_another_table() -> None:
    def plan(time: str) -> flows.App:
        clicks = clicked(flows.App("a"))
        clicks.window(tumbling("10s", time=time)).agg(n=count()).table("t")
        return clicks.app

    broker = MemoryBroker()
    with Driver(plan("event"), broker=broker) as t:
        t.send("clicks", Click("ada", 7.0))
    with pytest.raises(FlowsError, match="window was tumbling"), Driver(plan("processing"), broker=broker):
        pass
