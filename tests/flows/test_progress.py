"""What a worker shows of its restores: one line or bar a table, whatever the number of its tasks."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Iterator

import pytest

from flows.logs import set_up_logs
from flows.run.progress import Progress, RestoreProgress
from flows.settings import load_settings


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def quiet_logging() -> Iterator[None]:
    """Put the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def test_a_tables_tasks_are_one_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "flows.progress")
    progress = Progress(load_settings("app"))
    one, two = (RestoreProgress(progress.restore, task) for task in ("orders/0", "orders/1"))
    one("counts", 0, 2, 0.0)
    two("counts", 0, 3, 0.0)
    one("counts", 2, 2, 10.0)
    two("counts", 3, 3, 20.0)
    one("counts", 2, 2, 10.0)
    two("counts", 3, 3, 20.0)
    assert [r.getMessage() for r in caplog.records] == [
        "restore counts: 0 of 2 0/s",
        "restore counts: 5 of 5 30/s",
    ]
    one("counts", 0, 4, 0.0)
    one("counts", 4, 4, 10.0)
    assert caplog.records[-1].getMessage() == "restore counts: 4 of 4 10/s"


@pytest.mark.usefixtures("quiet_logging")
def test_log_lines_stand_above_the_bars_which_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    set_up_logs("info", stream=out)
    progress = Progress(load_settings("app"))
    progress.restore("orders/0", "counts", 1, 10, 5.0)
    logging.getLogger("flows.worker").info("holds 2 of 2 tasks")
    progress.restore("orders/0", "counts", 10, 10, 5.0)
    logging.getLogger("flows.worker").info("the last")
    progress.close()
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue()).replace("\r", "\n").split("\n")
    told = [line for line in lines if "flows." in line]
    assert [line.split("  ")[-1] for line in told] == ["holds 2 of 2 tasks", "restore counts: 10 of 10 5/s", "the last"]
    assert all(re.match(r"\d\d:\d\d:\d\d", line) for line in told)
    assert out.getvalue().endswith("the last\n")
