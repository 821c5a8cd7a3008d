"""`flows top`: what it shows of a group, what it says is wrong, and that it finds the workers."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from flows.cli.top_view import view
from flows.web.base import ErrorStatus, Flow, GroupStatus, LatencyStatus, TaskStatus, WorkerStatus
from tests.cli.conftest import Run
from tests.cli.workers import DEADLINE, Start
from tests.golden import assert_golden

NOW = 1_700_000_000.0
GOLDEN = Path(__file__).parent / "golden"

WELL = WorkerStatus(
    worker="vm-1",
    address="http://vm-1:6066",
    here=True,
    ready=True,
    state="running",
    records_per_second=48_211.6,
    lag=1234,
    loop_lag=0.004,
    tasks=(
        TaskStatus(id="rides/0", state="running", worker="vm-1", lag=1200, watermark=NOW - 4.25, state_bytes=5 << 20),
        TaskStatus(id="rides/1", state="running", worker="vm-1", lag=34, watermark=NOW - 7200),
    ),
    flow=Flow(read={"rides": 48_000.0, "notes": 211.6}),
    busy=0.8,
    stages={"fetch": 0.25, "decode": 0.5, "commit": 0.25},
    latency={"rides": LatencyStatus(p50=0.012, p99=0.08, records=100)},
    memory=300 << 20,
)
AILING = msgspec.structs.replace(
    WELL,
    worker="vm-2",
    here=False,
    ready=False,
    loop_lag=0.9,
    tasks=(
        TaskStatus(id="rides/2", state="restoring", worker="vm-2", restored=0.41, done=41, total=100, rate=9.5),
        TaskStatus(id="rides/3", state="failed", worker="vm-2", error="the disk is full"),
    ),
    errors=(ErrorStatus(step="worker", message="the broker is away", at=NOW - 5),),
    refused={"rides": 3},
    late={"by_city": 1},
)
GONE = WorkerStatus(worker="vm-3", address="http://vm-3:6066", trouble="does not answer in time")


def shown(group: GroupStatus) -> str:
    console = Console(width=110, file=io.StringIO(), record=True)
    console.print(view("airport", group, NOW))
    return "\n".join(line.rstrip() for line in console.export_text().splitlines()) + "\n"


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("top-well", GroupStatus(workers=(WELL,))),
        ("top-ailing", GroupStatus(workers=(WELL, AILING, GONE), unheld=("rides/4",))),
        ("top-empty", GroupStatus(workers=(WorkerStatus(worker="vm-1", address="", ready=True, state="running"),))),
    ],
)
def test_the_overview(name: str, group: GroupStatus) -> None:
    assert_golden(GOLDEN / f"{name}.txt", shown(group))


def test_many_tasks_are_not_all_listed() -> None:
    tasks = tuple(TaskStatus(id=f"t/{n}", state="running", worker="vm-1", lag=n) for n in range(100))
    text = shown(GroupStatus(workers=(msgspec.structs.replace(WELL, tasks=tasks),)))
    assert "t/99" in text
    assert "and 60 more" in text


@pytest.mark.usefixtures("airport")
def test_without_a_worker_it_says_so(run: Run) -> None:
    (Path(".flows") / "airport" / "broker").mkdir(parents=True)
    found = run("top")
    assert found.exit_code == 1
    assert "no worker of 'airport' runs" in found.stderr


def test_it_finds_the_worker(airport: Path, start: Start, run: Run) -> None:
    value = json.dumps({"carrier": "UA", "delay": 3.0, "at": 1357034400.0})
    assert run("send", "departures", value).exit_code == 0
    worker = start()
    worker.wait_for("holds ")
    found = run("top", "--once")
    assert found.exit_code == 0, found.stderr
    assert re.search(r"airport  \d of 1 worker ready", found.stdout)
    assert "departures/0" in found.stdout


def test_on_a_terminal_it_goes_on_until_ctrl_c(airport: Path, start: Start) -> None:
    start().wait_for("holds ")
    here, there = pty.openpty()
    command = [sys.executable, "-m", "flows", "top", "--interval", "0.1"]
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    with subprocess.Popen(command, cwd=airport, stdin=there, stdout=there, stderr=there, env=environ) as top:
        os.close(there)
        seen = b""
        while seen.count(b"departures/0") < 3:  # drawn anew
            seen += os.read(here, 4096)
        top.send_signal(signal.SIGINT)
        try:
            while os.read(here, 4096):
                pass
        except OSError:  # the other end is closed
            pass
        assert top.wait(DEADLINE) == 0
    os.close(here)
