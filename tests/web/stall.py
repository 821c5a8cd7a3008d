"""A worker of the market app in a process of its own, as tests that block start, feed and kill it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.web.airport import HOUR, NEW_YEAR

MODULE = Path(__file__).with_name("market.py")
ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


class Stall:
    """One worker on a data folder; restarted, it is at the same address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "worker.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ""

    def start(self, **environ: str) -> None:
        """Start the worker and wait until it is ready."""
        port = self.address.rpartition(":")[2] or "0"
        command = [sys.executable, "-m", "flows", "worker", "-l", "info", "-A", str(MODULE)]
        command += ["--data", str(self._folder / "data"), "--web-port", port]
        known = {**os.environ, "PYTHONPATH": str(ROOT), **environ}
        self._log.write_bytes(b"")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder, env=known)
        self._until(self._listens, "a worker that listens")
        self._until(lambda: self.ask("/api/status")["ready"], "a worker that is ready")

    def kill(self) -> None:
        """Kill it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def ask(self, path: str) -> Any:
        """Return an answer of the API."""
        with urllib.request.urlopen(self.address + path, timeout=PATIENCE) as answer:
            return json.load(answer)

    def send(self, *orders: dict[str, Any]) -> None:
        """Send orders by the gateway."""
        body = json.dumps(orders).encode()
        request = urllib.request.Request(
            f"{self.address}/topics/orders", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            assert json.load(answer)["records"] == len(orders)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        found = re.search(r"live page is at (http://[^\s,]+)", self._log.read_text())
        if found:
            self.address = found[1]
        return bool(found)

    def _until(self, condition: Any, what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"{what} did not come about in {PATIENCE} s: {self._log.read_text()}"
            # The worker is another process: there is no event to wait for, and asking without a pause would slow it.
            time.sleep(0.02)


def order(customer: str, country: str = "NO", amount: float = 10.0, hour: int = 0, second: int = 0) -> dict[str, Any]:
    """An order in an hour of 2013."""
    return {"customer": customer, "country": country, "amount": amount, "at": NEW_YEAR + hour * HOUR + second}
