"""A process that runs the command `worker` on a worker of its own: `python -m tests.cli.signalled MODE`."""

from __future__ import annotations

import asyncio
import sys
import types
from typing import Any

import flows
from flows.cli import main
from flows.errors import FlowsError


class Worker:
    """Obeys, or hangs in one of the ways that a real one may."""

    mode = ""

    def __init__(self, app: flows.App, settings: Any) -> None:
        self.stopped = asyncio.Event()
        print("constructed", flush=True)
        if self.mode == "slow-start":
            sys.stdin.readline()
        if self.mode == "columns":
            import polars  # as the real one does, when signals are heard already

            frame = polars.DataFrame({"n": range(1_000_000)}).lazy()
            self.work = frame.group_by(polars.col("n") % 100).agg(polars.len()).sort("n")

    async def run(self) -> None:
        if self.mode == "fails":
            raise FlowsError("the disk is full", fix="make room")
        print("running", flush=True)
        if self.mode == "blocked":
            sys.stdin.read()  # a call that does not come back, and holds the event loop
        while self.mode == "columns" and not self.stopped.is_set():
            self.work.collect()
            await asyncio.sleep(0)
        await self.stopped.wait()
        if self.mode == "slow-stop":
            await asyncio.Event().wait()
        print("committed", flush=True)

    def stop(self) -> None:
        self.stopped.set()


if __name__ == "__main__":
    Worker.mode = sys.argv[1]
    sys.modules["flows.run.worker"] = types.SimpleNamespace(Worker=Worker)  # type: ignore[assignment]
    main(["worker", "-A", "airport.py"], prog_name="flows")
