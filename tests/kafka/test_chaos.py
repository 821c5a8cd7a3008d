"""A short chaos run: each kind of fault once. `make chaos MINUTES=30` runs a long one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.kafka.chaos.schedule import Kind

_SHORT = {"--minutes": "1", "--rate": "150", "--faults": str(len(Kind)), "--seed": "20131123"}


@pytest.mark.kafka
@pytest.mark.crash
def test_everything_dies_once_and_nothing_is_lost_or_doubled() -> None:
    """In a process of its own: what aiokafka leaves open when brokers die, ends with it."""
    command = [sys.executable, "-m", "tests.kafka.chaos", *(word for option in _SHORT.items() for word in option)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    print(ended.stdout)
    assert ended.returncode == 0, ended.stderr
    assert f"{len(Kind)} faults; all exact" in ended.stdout
