"""What a table's changes feed: streams, agents, topics, tables; at commits, in silence, and where steps are new."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import flows
from flows import col, count, last, max, session, sum, tumbling
from flows.brokers.memory import MemoryBroker
from flows.testing import Driver


class Visit(flows.Record):
    page: str
    user: str | None
    n: int
    at: float


def visits(partitions: int = 1) -> flows.Topic:
    return flows.App("site").topic("visits", value=Visit, key="page", timestamp="at", partitions=partitions)


def visit(page: str, n: int = 1, user: str | None = "ann", at: float = 0.0) -> dict[str, Any]:
    return {"page": page, "user": user, "n": n, "at": at}


def test_of_a_commit_only_the_last_state_of_a_row_is_told() -> None:
    topic = visits()
    changes = topic.group_by("page").agg(n=sum("n")).table("t").changes()
    with topic.app.test() as t:
        with t.batch():
            for second, page in enumerate("abab"):
                t.send(topic, visit(page), at=float(second))
        assert [(c.key, c.value["n"], c.timestamp) for c in t.output(changes)] == [("a", 2, 2.0), ("b", 2, 3.0)]
        t.send(topic, visit("a"), at=1.0)
        assert [(c.key, c.value["n"], c.timestamp) for c in t.output(changes)] == [("a", 3, 2.0)]


def test_changes_are_filtered_and_computed_like_any_stream() -> None:
    topic = visits()
    changes = topic.group_by("page").agg(n=sum("n")).table("t").changes()
    large = topic.app.topic("large", value=dict)
    changes.filter(col("n") > 10).select("page", hundreds=col("n") // 100).to(large)
    with topic.app.test() as t:
        t.send(topic, visit("a", 10))
        t.send(topic, visit("b", 500))
        assert [(r.key, r.value) for r in t.output(large)] == [("b", {"page": "b", "hundreds": 5})]


def test_an_agent_takes_changes_in_the_commit_that_makes_them() -> None:
    topic = visits()
    changes = topic.group_by("page").agg(n=sum("n")).table("t").changes()
    told = topic.app.topic("told", value=dict)
    seen = topic.app.table("seen", key=str, value=list[int], default=list)

    @topic.app.agent(changes, sink=[told])
    async def watch(stream: Any) -> AsyncIterator[dict[str, Any]]:
        async for row in stream:
            seen[row.page].append(row.n)
            if row.n == 13:
                raise ValueError("unlucky")
            yield {"page": row.page, "n": row.n}

    with topic.app.test() as t:
        t.send(topic, visit("a", 1))
        with t.batch():
            t.send(topic, visit("a", 1))
            t.send(topic, visit("a", 1))
            t.crash()
        t.rebalance()
        t.send(topic, visit("a", 10))
        t.send(topic, visit("b", 7))
        assert [r.value for r in t.output(told)] == [{"page": p, "n": n} for p, n in (("a", 1), ("a", 3), ("b", 7))]
        assert t.table(seen).get("a") == [1, 3]
        (letter,) = t.dead_letters()
        assert (letter.step, letter.topic, letter.key, letter.reason) == (
            "watch",
            "t",
            b"a",
            "ValueError: unlucky (4 attempts)",
        )


def test_what_a_take_holds_of_changes_outlives_a_crash() -> None:
    topic = visits()
    changes = topic.group_by("page").agg(n=sum("n")).table("t").changes()
    pairs = topic.app.topic("pairs", value=list)

    @topic.app.agent(changes, sink=[pairs])
    async def watch(stream: Any) -> AsyncIterator[list[int]]:
        async for rows in stream.take(2, within="1h"):
            yield [row.n for row in rows]

    with topic.app.test() as t:
        t.send(topic, visit("a", 1))
        t.crash()
        t.rebalance()
        t.send(topic, visit("b", 2))
        t.send(topic, visit("a", 2))
        t.crash()
        t.send(topic, visit("a", 3))
        assert [r.value for r in t.output(pairs)] == [[1, 2], [3, 6]]


def test_removed_rows_are_told_where_they_are_asked_for() -> None:
    topic = visits()
    table = topic.window(session("10s")).agg(n=count()).table("t")
    changes, both = table.changes(), table.changes(removals=True)
    with topic.app.test() as t:
        t.send(topic, visit("a"), at=0.0)
        t.send(topic, visit("a"), at=5.0)
        bounds = [(c.value["window_end"], c.value["n"], c.value["removed"]) for c in t.output(both)]
        assert bounds == [(0.0, 1, False), (0.0, None, True), (5.0, 2, False)]
        assert [c.value["n"] for c in t.output(changes)] == [1, 2]


def test_silence_closes_windows_behind_windows() -> None:
    topic = visits(2)
    first = topic.window(tumbling("10s", emit="close")).agg(n=count()).table("first")
    here = first.changes().window(tumbling("30s", emit="close")).agg(n=sum("n")).table("here")
    behind = first.changes().group_by("n").window(tumbling("30s", emit="close")).agg(rows=count()).table("behind")
    with topic.app.test() as t:
        t.send(topic, visit("a"), at=1.0, partition=0)
        t.send(topic, visit("b"), at=21.0, partition=1)
        t.advance("5s")
        assert t.table(here).rows() == []
        t.advance("40s")
        assert [(r["page"], r["window_end"], r["n"]) for r in t.table(here).rows()] == [("a", 30.0, 1), ("b", 30.0, 1)]
        t.advance("60s")
        t.crash()
        t.advance("60s")
        assert [(r["n"], r["window_end"], r["rows"]) for r in t.table(behind).rows()] == [(1, 30.0, 2)]
        assert t.late(here) == t.late(behind) == []


def test_a_silent_task_with_an_open_window_holds_time_behind_it() -> None:
    """What it will tell when its window ends must not be late."""
    topic = visits(2)
    first = topic.window(tumbling("1h", emit="close")).agg(n=count()).table("first")
    behind = first.changes().group_by("n").window(tumbling("1h", emit="close")).agg(rows=count()).table("behind")
    with topic.app.test() as t:
        t.send(topic, visit("a"), at=10.0, partition=0)
        t.send(topic, visit("b"), at=20.0, partition=1)
        t.advance("5m")
        for hour in range(1, 6):
            t.send(topic, visit("b", at=3600.0 * hour), partition=1)
        t.advance("5m")
        assert [r["rows"] for r in t.table(behind).rows()] == []
        t.advance("10h")
        assert sorted((r["window_start"], r["rows"]) for r in t.table(behind).rows())[0] == (0.0, 2)
        assert t.late(behind) == []


def test_rows_of_a_row_that_is_too_large_for_a_column_are_refused() -> None:
    topic = visits()
    table = topic.group_by("page").agg(n=sum("n"), user=last("user")).table("t")
    users = table.group_by("user").agg(n=sum("n")).table("users")
    with topic.app.test() as t:
        t.send(topic, visit("a", 2**63 - 1))
        t.send(topic, visit("b", 1))
        t.send(topic, visit("a", 1))
        assert [d.reason for d in t.dead_letters()] == [f"n={2**63} is no Int64"]
        assert [r["n"] for r in t.table(users).rows()] == [1]


def test_a_group_that_loses_its_last_row_is_removed() -> None:
    topic = visits()
    table = topic.group_by("page").agg(user=last("user")).table("t")
    users = table.group_by("user").agg(pages=count()).table("users")
    out = topic.app.topic("out", value=dict)
    users.to(out)
    with topic.app.test() as t:
        t.send(topic, visit("a", user="ann"))
        t.send(topic, visit("a", user="bob"))
        assert t.table(users).rows() == [{"user": "bob", "pages": 1}]
        assert [(r.key, r.value) for r in t.output(out)] == [
            ("ann", {"user": "ann", "pages": 1}),
            ("ann", None),
            ("bob", {"user": "bob", "pages": 1}),
        ]
        t.send(topic, visit("a", user=None))
        assert t.table(users).rows() == []
        assert [d.reason for d in t.dead_letters()] == ["null key 'user' for users.group_by"]


def test_what_a_table_forgets_stays_counted() -> None:
    topic = visits()
    table = topic.window(tumbling("10s", retention="10s")).agg(n=count()).table("t")
    pages = table.group_by("page").agg(windows=count(), visits=sum("n")).table("pages")
    with topic.app.test() as t:
        for second in range(0, 50, 5):
            t.send(topic, visit("a"), at=float(second))
        assert len(t.table(table)) < 5
        assert t.table(pages).rows() == [{"page": "a", "windows": 5, "visits": 10}]


def test_steps_behind_a_table_that_has_rows_begin_with_these() -> None:
    def declare(behind: bool) -> tuple[flows.Topic, flows.Table, flows.Table | None]:
        topic = visits()
        table = topic.group_by("page").agg(user=last("user"), n=max("n")).table("t")
        return topic, table, table.group_by("user").agg(pages=count()).table("users") if behind else None

    broker = MemoryBroker()
    topic, *_ = declare(False)
    with Driver(topic.app, broker=broker) as t:
        for page in "abc":
            t.send(topic, visit(page))
    topic, _, users = declare(True)
    assert users is not None
    with Driver(topic.app, broker=broker) as t:
        t.send(topic, visit("c", user="bob"))
        assert t.table(users).rows() == [{"user": "ann", "pages": 2}, {"user": "bob", "pages": 1}]
        t.send(topic, visit("a", user="bob"))
        assert t.table(users).rows() == [{"user": "ann", "pages": 1}, {"user": "bob", "pages": 2}]


def test_changes_that_are_held_back_come_with_time_or_silence() -> None:
    topic = visits()
    table = topic.group_by("page").agg(user=last("user"), n=sum("n")).table("t")
    told = table.emit_every("10s")
    with topic.app.test() as t:
        t.send(topic, visit("a"), at=1.0)
        t.send(topic, visit("b"), at=2.0)
        t.crash()
        t.send(topic, visit("a"), at=9.0)
        assert t.output(told) == []
        t.rebalance()
        t.send(topic, visit("c"), at=10.0)
        assert [(c.key, c.value["n"], c.timestamp) for c in t.output(told)] == [("b", 1, 2.0), ("a", 2, 9.0)]
        t.send(topic, visit("c"), at=19.0)
        t.advance("1m")
        assert [(c.key, c.value["n"]) for c in t.output(told)] == [("c", 2)]
        t.advance("1h")
        t.send(topic, visit("c"), at=19.5)
        t.crash()
        t.advance("1m")
        assert [(c.key, c.value["n"]) for c in t.output(told)] == [("c", 3)]


def test_a_row_that_comes_and_goes_in_one_stretch_is_never_told() -> None:
    topic = visits()
    table = topic.window(session("5s", grace="1h")).agg(n=count()).table("t")
    told = table.changes(removals=True, emit_every="10s")
    with topic.app.test() as t:
        for second in (0.0, 3.0, 6.0, 12.0):
            t.send(topic, visit("a"), at=second)
        bounds = [(c.value["window_start"], c.value["window_end"], c.value["removed"]) for c in t.output(told)]
        assert bounds == [(0.0, 6.0, False)]
        t.send(topic, visit("a"), at=10.0)
        t.advance("1m")
        bounds = [(c.value["window_start"], c.value["window_end"], c.value["removed"]) for c in t.output(told)]
        assert bounds == [(0.0, 6.0, True), (0.0, 12.0, False)]
