from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flows.cli import main
from tests.cli.workers import Start, WorkerProcess

Run = Callable[..., Result]

AIRPORT = """\
import flows

app = flows.App("airport", partitions=2)


class Departure(flows.Record):
    carrier: str
    delay: float | None
    at: float


departures = app.topic("departures", value=Departure, key="carrier", timestamp="at")
hourly = departures.group_by("carrier").window(flows.tumbling("1h"))
delays = hourly.agg(flights=flows.count(), mean_delay=flows.mean("delay")).table("delays")
in_a_row = app.table("in_a_row", key=str, value=int, default=int)
alerts = app.topic("alerts", value=dict)
texts = app.topic("texts", value=str)


@app.agent(departures, sink=[alerts])
async def watch(stream):
    async for d in stream:
        in_a_row[d.carrier] += 1
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory, and no setting from outside of it."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    for name in [n for n in os.environ if n.startswith("FLOWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield work
    for name in [n for n, m in sys.modules.items() if n not in before and str(work) in str(getattr(m, "__file__", ""))]:
        del sys.modules[name]


@pytest.fixture
def airport(folder: Path) -> Path:
    """A working directory with one flow module."""
    (folder / "airport.py").write_text(AIRPORT)
    return folder


@pytest.fixture
def run() -> Run:
    """Run a command line in this process."""

    def invoke(*args: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(main, args, prog_name="flows", input=stdin)

    return invoke


@pytest.fixture
def quiet_logging() -> Iterator[None]:
    """Put the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.fixture
def start(airport: Path) -> Iterator[Start]:
    """Start workers of the airport; the test's end ends them."""
    started: list[WorkerProcess] = []

    def start(*args: str) -> WorkerProcess:
        started.append(WorkerProcess(airport, *args))
        return started[-1]

    yield start
    for worker in started:
        worker.close()
