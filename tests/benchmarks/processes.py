"""The processes of a measurement: started with their log in a file, their CPU time read from outside, ended."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.benchmarks.contestants import Entry
from tests.kafka.jvm import ROOT, leash


class Running:
    """A contestant in its own folder of data; it ends with this process, however that ends."""

    def __init__(self, command: list[str], entry: Entry, log: Path) -> None:
        entry.folder.mkdir()
        environment = {**os.environ, "W1_TOPIC": entry.topic, "W1_GROUP": entry.group}
        with log.open("wb") as out:
            self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT)
        self._leash = leash(self._process.pid)
        self.pid = self._process.pid

    @property
    def ended(self) -> int | None:
        """The code it ended with, None while it runs."""
        return self._process.poll()

    def end(self) -> None:
        """End it, by force where it takes its time."""
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
        finally:
            self._leash.kill()
            self._leash.communicate()
            self._process.wait()


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process so far, all its threads'."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
