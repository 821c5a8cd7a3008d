"""`on_window_close` of dictionary tables: once for each row that expires, in the task's transaction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flows
from flows.run.worker import Worker
from flows.settings import Settings


class View(flows.Record):
    page: str
    at: float


def bounds(rows: list[dict[str, Any]]) -> list[tuple[float, float, Any]]:
    return [(r["window_start"], r["window_end"], r["value"]) for r in rows]


def test_the_end_of_a_window_is_told_once_also_when_the_topic_falls_silent() -> None:
    """In Faust not after a restart."""
    app = flows.App("site")
    views, told = app.topic("views", value=View, key="page", timestamp="at"), app.topic("told", value=dict)
    totals = app.table("totals", value=int, default=int)

    async def on_close(key: Any, value: int) -> None:
        page, (start, end) = key
        totals[page] += value
        await told.send({"page": page, "start": start, "end": end, "value": value})

    counts = app.table("counts", value=int, default=int, on_window_close=on_close).tumbling(10, expires=0)

    @app.agent(views)
    async def count(stream):
        async for view in stream:
            counts[view.page] += 1

    with app.test() as t:
        t.send(views, {"page": "a"}, at=1.0)
        t.send(views, {"page": "b"}, at=2.0)
        t.rebalance()
        assert t.output(told) == []
        t.advance("30s")
        assert [(r.value["page"], r.value["value"], r.timestamp) for r in t.output(told)] == [
            ("a", 1, 9.999),
            ("b", 1, 9.999),
        ]
        t.crash()
        t.send(views, {"page": "a"}, at=3.0)
        t.advance("30s")
        assert t.output(told) == []
        assert [r.windows for r in t.late(counts)] == [[0.0]]
        assert t.table(counts).rows() == []
        assert {r["key"]: r["value"] for r in t.table(totals).rows()} == {"a": 1, "b": 1}


def test_a_failing_end_of_a_window_is_retried_and_then_a_dead_letter() -> None:
    app = flows.App("site")
    views = app.topic("views", value=View, key="page", timestamp="at")
    calls = app.table("calls", value=int, default=int)

    def on_close(key: Any, value: int) -> None:
        calls["all"] += 1
        raise ValueError(f"{key} {value}")

    counts = app.table("counts", value=int, default=int, on_window_close=on_close).tumbling(10, expires=0)

    @app.agent(views)
    async def count(stream):
        async for view in stream:
            counts[view.page] += 1

    with app.test() as t:
        t.send(views, {"page": "a"}, at=1.0)
        t.send(views, {"page": "a"}, at=11.0)
        (letter,) = t.dead_letters()
        assert letter.step == "counts.on_window_close"
        assert letter.reason == "ValueError: ('a', (0.0, 10.0)) 1 (4 attempts)"
        assert t.table(calls).rows() == []
        assert bounds(t.table(counts).rows()) == [(10.0, 20.0, 1)]


def test_time_of_two_inputs_is_the_larger_and_silence_that_of_both() -> None:
    app = flows.App("site")
    views, clicks = (app.topic(name, value=View, key="page", timestamp="at") for name in ("views", "clicks"))
    told: list[Any] = []
    counts = app.table("counts", value=int, default=int, on_window_close=lambda k, v: told.append((k[1][0], v)))
    windowed = counts.tumbling(10, expires=0)

    @app.agent(views)
    async def count_views(stream):
        async for view in stream:
            windowed[view.page] += 1

    @app.agent(clicks)
    async def count_clicks(stream):
        async for click in stream:
            windowed[click.page] += 100

    with app.test() as t:
        t.send(views, {"page": "a"}, at=1.0)
        t.send(clicks, {"page": "a"}, at=2.0)
        assert told == []
        t.send(clicks, {"page": "a"}, at=12.0)
        assert told == [(0.0, 101)]
        t.rebalance()
        t.send(views, {"page": "a"}, at=13.0)
        t.advance("1m")
        assert told == [(0.0, 101), (10.0, 101)]


async def test_windows_end_once_over_restarts_on_rocksdb(tmp_path: Path) -> None:
    """In Faust none ends after a restart."""
    closed: list[Any] = []
    times = [1.0, 2.0, 11.0, 12.0, 31.0, 3.0, 61.0]
    for limit in range(1, len(times) + 1):
        app = flows.App("site")
        views = app.topic("views", value=View, key="page", timestamp="at")
        counts = app.table("counts", value=int, default=int, on_window_close=lambda k, v: closed.append((k[1][0], v)))
        windowed = counts.tumbling(10, expires=10)

        @app.agent(views, tables=[windowed])
        async def count(stream, windowed=windowed):
            async for view in stream:
                windowed[view.page] += 1

        @app.source(views)
        def replay(position: int, limit: int = limit) -> Any:
            yield from (View("a", at) for at in times[position:limit])

        await Worker(app, Settings(data=tmp_path, drain=True, web_port=-1)).run()
    assert closed == [(0.0, 2), (10.0, 2), (30.0, 1)]
