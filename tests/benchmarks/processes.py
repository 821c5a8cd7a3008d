"""The processes of a measurement: started with their log in a file, their CPU time read from outside, ended."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from tests.benchmarks.contestants import Entry
from tests.kafka.jvm import ROOT


def start(command: list[str], entry: Entry, log: Path) -> subprocess.Popen[bytes]:
    """Start a contestant in its own folder of data."""
    entry.folder.mkdir()
    environment = {**os.environ, "W1_TOPIC": entry.topic, "W1_GROUP": entry.group}
    with log.open("wb") as out:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT)


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process so far, all its threads'."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def end(process: subprocess.Popen[bytes]) -> None:
    """End it, by force where it takes its time."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
