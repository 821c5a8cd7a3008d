"""The workers of a chaos run: processes, each with a data folder of its own, as on machines of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

FLOW = Path(__file__).with_name("flow.py")
LEASE = 6.0
_PATIENCE = 120.0


class Failed(Exception):
    """A chaos run has found something wrong; the message says what."""


class Worker:
    """One `flows worker`; its folder outlives its processes."""

    def __init__(self, name: str, folder: Path, url: str, settings: Iterable[str], *options: str) -> None:
        self.name, self.folder, self._url = name, folder, url
        self._settings = [word for setting in settings for word in ("--set", setting)]
        self.log = folder / "worker.log"
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        self.start(*options)

    def start(self, *options: str) -> None:
        command = [sys.executable, "-m", "flows", "worker", "-A", str(FLOW), "--broker", self._url]
        command += ["--data", str(self.folder / "data"), "--web-port", "0", "--set", f"lease={LEASE}"]
        command += [*self._settings, *options]
        self._from = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment()
            )

    @property
    def said(self) -> str:
        """What the last process has logged."""
        with self.log.open("rb") as log:
            log.seek(self._from)
            return log.read().decode("utf-8", "replace")

    @property
    def joined(self) -> bool:
        """Whether the group has told this process which tasks it holds; until it runs, a signal just ends it."""
        return " holds " in self.said

    @property
    def ended(self) -> int | None:
        """The exit code of a process that has ended by itself."""
        return None if self.process is None else self.process.poll()

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def lose_disk(self) -> None:
        shutil.rmtree(self.folder / "data", ignore_errors=True)

    def stop(self) -> None:
        """Ask it to stop and wait for it; raises `Failed` unless it ends well."""
        assert self.process is not None
        process, self.process = self.process, None
        process.send_signal(signal.SIGINT)
        self._end(process)

    def wait(self) -> None:
        """Wait until it ends by itself, and well; raises `Failed`."""
        assert self.process is not None
        process, self.process = self.process, None
        self._end(process)

    def tail(self, lines: int = 60) -> str:
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        try:
            code = process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Failed(f"{self.name} did not end within {_PATIENCE:g} s") from None
        if code:
            raise Failed(f"{self.name} ended with {code}")


class Fleet:
    """All workers of a run, those that run and those that were taken away."""

    def __init__(self, folder: Path, url: str, settings: Iterable[str] = (), *, static: bool = False) -> None:
        self.folder, self._url, self._settings, self._static = folder, url, list(settings), static
        self.all: list[Worker] = []
        self.active: list[Worker] = []

    def add(self, *options: str) -> Worker:
        """Start a worker on a new machine."""
        name = f"worker-{len(self.all) + 1}"
        own = [f"instance_id={name}"] if self._static else []
        worker = Worker(name, self.folder / name, self._url, [*self._settings, *own], *options)
        self.all.append(worker)
        self.active.append(worker)
        return worker

    def pick(self, who: float) -> Worker:
        """Choose one of those that are there; `who` is from 0 to 1."""
        return self.active[int(who * len(self.active))]

    def check(self) -> None:
        """Raise `Failed` if one has ended that nobody ended."""
        for worker in self.active:
            if worker.ended is not None:
                raise Failed(f"{worker.name} ended by itself with {worker.ended}")

    def close(self) -> None:
        for worker in self.all:
            worker.kill()


def environment() -> dict[str, str]:
    """Return the environment without settings of whoever runs the tests."""
    return {k: v for k, v in os.environ.items() if not k.startswith("FLOWS_")}
