"""A worker in a process of its own that kills itself at a step: `python -m tests.crash.process DATA STEP [--drain]`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from flows.run.worker import Worker
from flows.settings import load_settings
from tests.crash.airport import Airport

SETTINGS = {"web_port": "-1", "lease": "1.5s", "idle_after": "1000000"}


async def main(data: str, die_at: str, *more: str) -> None:
    def probe(step: str) -> None:
        if step == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if step == "start 6":
            sys.stdout.write("started\n")
            sys.stdout.flush()

    app = Airport().app
    options = {**SETTINGS, "data": data, "drain": "true" if more else "false"}
    await Worker(app, load_settings(app.id, options, environ={}), probe=probe).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
