"""`flows worker --processes N`: members under one supervisor, started again when they die, stopped together."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from time import monotonic

import pytest

from tests.cli.conftest import Run
from tests.cli.test_cli_worker import COUNTS, DEPARTURES, query
from tests.cli.workers import DEADLINE, Start, WorkerProcess

pytestmark = pytest.mark.crash


def pids(worker: WorkerProcess, count: int) -> list[int]:
    """The process ids of the workers, once all are told."""
    found: dict[int, int] = {}
    while len(found) < count:
        number, pid = re.findall(r"process (\d+) is started, pid (\d+)", worker.wait_for(" is started, pid "))[0]
        found[int(number)] = int(pid)
    return [found[number] for number in sorted(found)]


def wait_until_gone(pid: int) -> None:
    deadline = monotonic() + DEADLINE
    while Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert monotonic() < deadline, f"process {pid} lives on"


def test_they_share_the_tasks_and_stop_together(start: Start, run: Run) -> None:
    worker = start("--processes", "2")
    members = pids(worker, 2)
    told = {worker.wait_for("holds 1 of 2 tasks").split()[1], worker.wait_for("holds 1 of 2 tasks").split()[1]}
    assert told == {"[0]", "[1]"}
    run("send", "departures", "-", stdin=DEPARTURES)
    while query(run) != COUNTS:
        assert worker.process.poll() is None
    assert worker.stop(signal.SIGTERM) == 0
    for pid in members:
        wait_until_gone(pid)
    assert query(run) == COUNTS


def test_a_dead_one_is_started_again(start: Start, run: Run) -> None:
    worker = start("--processes", "2", "--set", "lease=2s")
    first, _ = pids(worker, 2)
    worker.wait_for("holds 1 of 2 tasks")
    worker.wait_for("holds 1 of 2 tasks")
    os.kill(first, signal.SIGKILL)
    assert "process 0 was killed by SIGKILL: it is started again in 0.5 s" in worker.wait_for("was killed by")
    (second,) = pids(worker, 1)
    assert second != first
    worker.wait_for("[0] info    flows.worker  holds 1 of 2 tasks")
    run("send", "departures", "-", stdin=DEPARTURES)
    while query(run) != COUNTS:
        assert worker.process.poll() is None
    assert worker.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_none_outlives_the_supervisor(start: Start, number: signal.Signals) -> None:
    """Neither where it is killed, nor where a second Ctrl-C makes it leave at once."""
    worker = start("--processes", "2")
    members = pids(worker, 2)
    worker.wait_for("holds 1 of 2 tasks")
    worker.process.send_signal(number)
    if number == signal.SIGINT:
        worker.wait_for("Stopping: finishing what is in flight")
        worker.process.send_signal(number)
    worker.process.wait(timeout=DEADLINE)
    for pid in members:
        wait_until_gone(pid)


def test_a_mistake_is_told_and_ends_all(start: Start, airport: Path) -> None:
    (airport / "file").write_text("")
    worker = start("--processes", "2", "--data", "file/inside")
    assert worker.process.wait(timeout=DEADLINE) == 1
    worker.close()
    told = [line for line in worker.rest() if line.startswith("Error: ")]
    assert told
    assert all("data folder" in line for line in told)


def test_drain_ends_when_all_have_ended(start: Start, run: Run) -> None:
    run("send", "departures", "-", stdin=DEPARTURES)
    worker = start("--processes", "2", "--drain", "--log-json")
    assert worker.process.wait(timeout=DEADLINE) == 0
    worker.close()
    numbers = {json.loads(line).get("process") for line in worker.rest()}
    assert numbers == {None, 0, 1}
    assert query(run) == COUNTS
