"""A short chaos run: each kind of fault once. `make chaos MINUTES=30` runs a long one."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.kafka.chaos.schedule import Kind

_SHORT = {"--minutes": "0.5", "--rate": "150", "--faults": str(len(Kind)), "--seed": "20131123"}
_WARM = ["--static", "--standbys", "1"]
_DEATHS = ["--faults", "4", "--seed", "20131259"]
"""Of all kinds those by which something could be lost."""


def chaos(*options: str) -> str:
    """Carry out a short run in a process of its own: what aiokafka leaves open when brokers die, ends with it."""
    command = [sys.executable, "-m", "tests.kafka.chaos", *(word for option in _SHORT.items() for word in option)]
    ended = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    print(ended.stdout)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.kafka
@pytest.mark.crash
@pytest.mark.parametrize("options", [[], _WARM], ids=["plain", "static-standbys"])
def test_everything_dies_once_and_nothing_is_lost_or_doubled(options: list[str]) -> None:
    assert f"{len(Kind)} faults; all exact" in chaos(*options)


@pytest.mark.kafka
@pytest.mark.crash
def test_at_least_once_nothing_is_lost() -> None:
    said = chaos("--guarantee", "at_least_once", *_DEATHS)
    assert all(kind in said for kind in (Kind.KILL_WORKER, Kind.LOSE_WORKER, Kind.ZOMBIE, Kind.KILL_BROKER)), said
    assert re.search(r"4 faults; (all exact|nothing lost, \d+ doubled)", said)
