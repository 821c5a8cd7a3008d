"""Workers as processes of their own, watched through the broker."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from flows.brokers.base import Broker, TopicPartition
from flows.brokers.registry import open_broker
from tests.flights.checks import EXAMPLE

ROOT = Path(__file__).parents[2]
PATIENCE = 240.0


class Process:
    """One `flows worker` on the flights: of the year, or as `packages` has them (see `package_of`)."""

    def __init__(self, data: Path, *options: str, log: Path | None = None, packages: Path | None = None) -> None:
        command = [sys.executable, "-m", "flows", "worker", "-A", str(EXAMPLE), "--data", str(data)]
        self._log = (log or data.parent / "worker.log").open("ab")
        page = () if "--web-port" in options else ("--web-port", "-1")
        first = os.pathsep.join(map(str, filter(None, (packages, ROOT))))
        environ = {**os.environ, "PYTHONPATH": first}
        self.process = subprocess.Popen([*command, *page, *options], stdout=self._log, stderr=self._log, env=environ)

    def kill(self) -> None:
        """Kill it as a power cut would."""
        self.process.kill()
        self.wait()

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def wait(self) -> int:
        """Wait for its end and return the exit code."""
        try:
            return self.process.wait(PATIENCE)
        finally:
            if self.process.poll() is None:
                self.process.kill()
            self._log.close()


async def until_replayed(data: Path, count: int, process: Process) -> None:
    """Wait until the group has processed `count` departures, or the worker has ended by itself."""
    broker = open_broker(f"embedded://{data / 'broker'}")
    await broker.start()
    try:
        deadline = time.monotonic() + PATIENCE
        while await _processed(broker) < count and process.process.poll() is None:
            assert time.monotonic() < deadline, f"not {count} records after {PATIENCE} s"
            await asyncio.sleep(0.02)
    finally:
        await broker.close()


async def _processed(broker: Broker) -> int:
    inputs = [TopicPartition("departures", p) for p in range(4)]
    return sum(c.offset for c in (await broker.committed("flights", inputs)).values())
