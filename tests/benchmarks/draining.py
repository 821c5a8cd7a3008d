"""A worker that drains an embedded broker, and how long it takes from the first record to the last."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple

import flows
from flows.run.worker import Worker
from flows.settings import load_settings


class Drained(NamedTuple):
    """A run: seconds on the wall and of the CPU, and the worker with its metrics."""

    seconds: float
    cpu: float
    worker: Worker


async def drain(app: flows.App, data: Path, broker: str = "embedded") -> Drained:
    """Let a worker work until all inputs are committed to their ends."""
    given = {"data": str(data), "broker": broker, "web_port": "-1", "drain": True}
    worker = Worker(app, load_settings(app.id, given))
    begun = ended = cpu_begun = cpu_ended = 0.0

    async def watch() -> None:
        nonlocal begun, ended, cpu_begun, cpu_ended
        seen = 0
        while True:
            await asyncio.sleep(0.005)
            now, records = perf_counter(), worker.metrics.records
            if records and not begun:
                begun, cpu_begun = now, process_time()
            if records > seen:
                seen, ended, cpu_ended = records, now, process_time()

    watching = asyncio.create_task(watch())
    await worker.run()
    watching.cancel()
    return Drained(ended - begun, cpu_ended - cpu_begun, worker)
