"""The demo as the pages tell it: `make demo`, the page, Ctrl-C, again, the queries; typed as they stand there.

The virtual environment is the one that the tests run in, so that nothing is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, blocks_of
from tests.docs.runner import commands_of, environment, run_command

PATIENCE = 240.0
POLL = 0.05


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what the demo needs of a fresh clone, and an environment that counts as installed."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    tools = tmp_path / ".venv" / "bin"
    tools.mkdir(parents=True)
    flows = tools / "flows"
    flows.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m flows "$@"\n')
    flows.chmod(0o755)
    (tmp_path / ".venv" / ".installed-demo").touch()
    return tmp_path


def test_the_demo_is_as_the_pages_tell_it(checkout: Path) -> None:
    (start, _), *queries = demo_commands()

    with running(checkout, start) as first:
        address = until(lambda: re.search(r"the live page is at (http://\S+)", first.said()), first)[1]
        assert "<title>" in urllib.request.urlopen(address, timeout=PATIENCE).read().decode()
        until(lambda: re.search(r"source replay: [1-9]", first.said()), first)
        os.killpg(first.process.pid, signal.SIGINT)  # a terminal sends it to make and the worker alike
        assert first.process.wait(PATIENCE) == -signal.SIGINT
    assert "make: ***" not in first.said()
    assert "stopped: " in first.said()

    with running(checkout, f"{start} ARGS=--drain") as second:
        assert second.process.wait(PATIENCE) == 0, second.said()

    for query, shown in queries:
        run_command(query, shown, checkout, f"$ {query}")


def demo_commands() -> list[tuple[str, list[str]]]:
    """Return the commands of the demo, `make demo` first, with what the pages say they print."""
    texts = (ROOT / "README.md", ROOT / "examples" / "flights" / "README.md")
    return [c for page in texts for block in blocks_of(page) if "demo" in block.marks for c in commands_of(block)]


class Running:
    """A command in a process group of its own, with what it has printed."""

    def __init__(self, folder: Path, command: str, log: Path) -> None:
        self._log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=folder,
                env=environment(folder),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def said(self) -> str:
        return self._log.read_text("utf-8", errors="replace")


@contextmanager
def running(folder: Path, command: str) -> Iterator[Running]:
    """Run a command and leave nothing of it behind."""
    started = Running(folder, command, folder / "demo.log")
    try:
        yield started
    finally:
        if started.process.poll() is None:
            os.killpg(started.process.pid, signal.SIGKILL)
            started.process.wait()


def until(condition: Callable[[], re.Match[str] | None], of: Running) -> re.Match[str]:
    """Wait for something that a command prints."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := condition():
            return found
        assert of.process.poll() is None, of.said()
        # Nothing tells of new lines in a file without asking.
        time.sleep(POLL)
    raise AssertionError(of.said())
