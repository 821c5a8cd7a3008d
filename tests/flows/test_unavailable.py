"""A worker whose broker cannot tell for a while what is committed, or where inputs end: it goes on all the same."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import flows
from flows import count
from flows.brokers.registry import open_broker
from flows.cli.readers import offline_tables
from flows.cli.subject import Subject
from flows.errors import BrokerError, BrokerUnavailable, Fenced
from flows.run import worker as workers
from flows.settings import load_settings


class Sale(flows.Record):
    item: str


def shop() -> flows.App:
    app = flows.App("shop")
    sales = app.topic("sales", value=Sale, partitions=1)
    sales.group_by("item").agg(sold=count()).table("sold")

    @app.source(sales)
    def sell(position: int):
        yield from (Sale("tea") for _ in range(position, 100))

    return app


@pytest.mark.parametrize(
    ("look", "error"),
    [
        *((look, BrokerUnavailable) for look in ("end_offsets", "committed", "purge", "join")),
        ("join", Fenced),  # its lease ran out before the first round was over
    ],
)
async def test_a_look_in_vain_ends_no_worker(
    look: str, error: type[BrokerError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, told = shop(), asyncio.Event()
    settings = load_settings(app.id, {"data": str(tmp_path), "web_port": "-1"}, environ={})
    broker = open_broker(settings.broker_url)
    real = getattr(broker, look)
    failures = iter(range(3))

    async def late(*args: Any, **options: Any) -> Any:
        if next(failures, None) is not None:
            raise error(f"{look}: no answer")
        told.set()
        return await real(*args, **options)

    monkeypatch.setattr(broker, look, late)
    monkeypatch.setattr(workers, "open_broker", lambda url, **options: broker)
    worker = workers.Worker(app, settings)
    run = asyncio.create_task(worker.run())
    async with asyncio.timeout(60):
        while not (told.is_set() and worker.metrics.records >= 200):
            assert not run.done() or run.result()
            await asyncio.sleep(0.01)
    assert f"{look}: no answer" in "".join(worker.metrics.errors)
    worker.stop()
    await run
    reading = open_broker(settings.broker_url)
    await reading.start()
    try:
        rows = await offline_tables(Subject(app.plan(), settings, app), reading, with_stores=True).rows("sold")
    finally:
        await reading.close()
    assert rows == [{"item": "tea", "sold": 100}]
