"""A `flows worker` process whose log lines a test can wait for."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

DEADLINE = 60.0


class WorkerProcess:
    """A `flows worker` with its log lines, of which `wait_for` waits for one."""

    def __init__(self, folder: Path, *args: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flows", "worker", "--web-port", "0", *args],
            cwd=folder,
            env={k: v for k, v in os.environ.items() if not k.startswith("FLOWS_")},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.address = ""
        self.lines: list[str] = []
        self._news: queue.Queue[str | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._news.put(line)
        self._news.put(None)

    def wait_for(self, words: str) -> str:
        try:
            while (line := self._news.get(timeout=DEADLINE)) is not None:
                self.lines.append(line)
                if words in line:
                    return line
        except queue.Empty:
            pass
        raise AssertionError(f"the worker never said {words!r}: {''.join(self.lines)}")

    def rest(self) -> list[str]:
        """Return what an ended worker had still said."""
        self._thread.join()
        return list(iter(self._news.get, None))

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=DEADLINE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._thread.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


Start = Callable[..., WorkerProcess]
