"""Crontabs, tasks, timers of every worker, and hooks."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import flows
from flows.clock import ManualClock
from flows.errors import FlowsError
from flows.operate.schedule import Cron
from flows.run.worker import Worker
from flows.settings import Settings


def at(text: str, zone: str = "UTC") -> float:
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def ticks(spec: str, zone: str, start: float, hours: int) -> list[str]:
    """Return when a crontab ticks, looked at every quarter of an hour."""
    clock = ManualClock(start)
    cron, found = Cron(spec, zone, clock), []
    for _ in range(4 * hours):
        clock.advance(900)
        if cron.take():
            found.append(dt.datetime.fromtimestamp(clock.now(), ZoneInfo(zone)).isoformat())
    return found


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("2026-03-28T12:00", ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]),
        ("2026-10-24T12:00", ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]),
    ],
)
def test_a_crontab_follows_the_clocks_of_its_zone(start: str, expected: list[str]) -> None:
    assert ticks("30 2 * * *", "Europe/Berlin", at(start, "Europe/Berlin"), 48) == expected


def test_a_crontab_ticks_once_however_long_nobody_looked() -> None:
    clock = ManualClock(at("2026-01-01T08:00"))
    cron = Cron("0 9 * * *", "UTC", clock)
    assert (cron.left(), cron.take()) == (3600.0, False)
    clock.advance(3 * 86400)
    assert [cron.take(), cron.take()] == [True, False]
    assert cron.left() == 3600.0


def test_a_crontab_runs_with_tables_and_without() -> None:
    app = flows.App("daily")
    sales, out = app.topic("sales", value=dict), app.topic("out", value=dict)
    total = app.table("total", value=int, default=int)

    @app.agent(sales)
    async def add(stream):
        async for sale in stream:
            total["all"] += sale["n"]

    @app.crontab("0 9 * * 1-5", timezone="Europe/Berlin")
    async def report() -> None:
        await out.send({"total": total["all"]})
        total["all"] = 0

    @app.crontab("*/30 * * * *")
    async def tick() -> None:
        await out.send({"tick": True})

    with app.test(now=at("2026-11-20T08:50", "Europe/Berlin")) as t:  # a Friday
        t.send(sales, {"n": 3})
        t.advance("15m")
        assert sorted(map(str, (r.value for r in t.output(out)))) == ["{'tick': True}", "{'total': 3}"]
        t.send(sales, {"n": 4})
        t.advance("2d")
        assert [r.value for r in t.output(out) if "total" in r.value] == []
        t.advance("1d")
        assert [r.value for r in t.output(out) if "total" in r.value] == [{"total": 4}]


class Shop:
    """An app of which everything notes that it ran."""

    def __init__(self) -> None:
        self.app = app = flows.App("shop")
        self.topic = app.topic("orders", value=dict)
        self.notes: list[Any] = []

        @app.agent(self.topic)
        async def count(stream):
            async for order in stream:
                self.notes.append(order)
                yield len(self.notes)

        app.on_start.connect(lambda: self.notes.append("start"))
        app.on_stop.connect(lambda: self.notes.append("stop"))
        app.on_ready.connect(lambda: self.notes.append("ready"))

        @app.on_rebalance
        async def moved(assigned: set[str], revoked: set[str]) -> None:
            self.notes.append(("moved", sorted(assigned), sorted(revoked)))

        @app.task
        async def greet() -> None:
            self.notes.append(await count.ask({"hello": 1}))

        @app.task(on_leader=True)
        async def lead() -> None:
            await self.topic.send({"lead": 1})

        @app.timer("1s", on_leader=False)
        async def everywhere() -> None:
            self.notes.append("tick")


def test_tasks_and_hooks_run_in_the_driver() -> None:
    shop = Shop()
    with shop.app.test() as t:
        assert shop.notes[:2] == ["start", "ready"]
        t.advance("1s")
        assert {"hello": 1} in shop.notes
        assert {"lead": 1} in shop.notes
        assert shop.notes.count("tick") == 1
        t.rebalance()
        assert shop.notes[-1] == ("moved", ["orders/0"], ["orders/0"])
    assert shop.notes[-1] == "stop"


async def test_tasks_and_hooks_run_in_a_worker(tmp_path: Path) -> None:
    shop = Shop()
    done = asyncio.Event()

    @shop.app.task
    async def wait_for_all() -> None:
        while not ({"lead": 1} in shop.notes and any(isinstance(n, int) for n in shop.notes) and "tick" in shop.notes):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        done.set()

    worker = Worker(shop.app, Settings(data=tmp_path, web_port=-1))
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(60):
        waiting = asyncio.create_task(done.wait())
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        worker.stop()
        await running
    assert shop.notes[0] == "start"
    assert shop.notes[-1] == "stop"
    moved = next(n for n in shop.notes if isinstance(n, tuple))
    assert moved == ("moved", ["orders/0", "task:lead"], [])
    assert not worker.asking.waiting


@pytest.mark.parametrize("where", ["task", "leader", "on_start", "on_ready", "on_rebalance"])
async def test_a_task_or_a_hook_that_fails_ends_the_worker(tmp_path: Path, where: str) -> None:
    app = flows.App("shop")
    topic = app.topic("orders", value=dict)

    @app.agent(topic)
    async def read(stream):
        async for _ in stream:
            pass

    async def fail(*_: Any) -> None:
        raise ValueError("as told")

    if where == "task":
        app.task(fail)
    elif where == "leader":
        app.task(on_leader=True)(fail)
    else:
        getattr(app, where).connect(fail)
    async with asyncio.timeout(60):
        with pytest.raises(FlowsError, match="failed: ValueError: as told"):
            await Worker(app, Settings(data=tmp_path, web_port=-1)).run()


def test_a_failing_task_fails_the_test() -> None:
    app = flows.App("shop")
    topic = app.topic("orders", value=dict)

    @app.task
    async def fail() -> None:
        raise ValueError("as told")

    with pytest.raises(FlowsError, match="task 'fail' failed: ValueError: as told"), app.test() as t:
        t.send(topic, {})


def test_a_hook_can_be_taken_back() -> None:
    app = flows.App("shop")
    seen: list[int] = []
    first = app.on_start.connect(lambda: seen.append(1))
    app.on_start.connect(lambda: seen.append(2))
    app.on_start.disconnect(first)
    with app.test():
        assert seen == [2]
