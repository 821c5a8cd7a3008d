"""Signals at a worker's process: the first stops it gracefully, the second at once, in every phase."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def start(airport: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start(mode: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.signalled", mode],
            cwd=airport,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@contextmanager
def hangup_at_start(meant: signal.Handlers) -> Iterator[None]:
    """Have what is started inside find SIGHUP as said: in a suite under `nohup` it is ignored."""
    before = signal.signal(signal.SIGHUP, meant)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def wait_for(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    for found in process.stdout:
        if found.strip() == line:
            return
    raise AssertionError(f"never said {line!r}: {process.communicate()}")


def wait_for_notice(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    assert process.stderr.readline().startswith("Stopping: finishing what is in flight.")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_stops_gracefully(start: Start, number: signal.Signals) -> None:
    with hangup_at_start(signal.SIG_DFL):
        process = start("obeys")
    wait_for(process, "running")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "committed\n")
    assert err == "Stopping: finishing what is in flight. Ctrl-C once more leaves at once.\n"


def test_ctrl_c_in_the_middle_of_columns_stops_gracefully(start: Start) -> None:
    """Polars has a handler of its own, which would raise KeyboardInterrupt there."""
    process = start("columns")
    wait_for(process, "running")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "committed\n"), err


def test_a_hangup_that_is_ignored_stays_so(start: Start) -> None:
    with hangup_at_start(signal.SIG_IGN):
        process = start("obeys")
    wait_for(process, "running")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60)[0] == "committed\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_during_start_up_leaves_at_once(start: Start, number: signal.Signals, code: int) -> None:
    process = start("slow-start")
    wait_for(process, "constructed")
    process.send_signal(number)
    assert process.wait(timeout=60) == code


@pytest.mark.parametrize(
    ("mode", "number", "code"),
    [("slow-stop", signal.SIGINT, 130), ("blocked", signal.SIGINT, 130), ("blocked", signal.SIGTERM, 143)],
)
def test_a_second_signal_leaves_at_once(start: Start, mode: str, number: signal.Signals, code: int) -> None:
    process = start(mode)
    wait_for(process, "running")
    process.send_signal(number)
    wait_for_notice(process)
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    assert "committed" not in process.stdout.read() if process.stdout else False


def test_an_error_of_the_worker_is_one_line(start: Start) -> None:
    process = start("fails")
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "Error: the disk is full; make room\n")
