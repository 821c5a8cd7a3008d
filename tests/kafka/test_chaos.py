"""A short chaos run: each kind of fault once. `make chaos MINUTES=30` runs a long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kafka.chaos.run import Chaos, run
from tests.kafka.chaos.schedule import Kind


@pytest.mark.kafka
@pytest.mark.crash
async def test_everything_dies_once_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    report = await run(Chaos(seed=20131123, events=9_000, rate=150.0, faults=len(Kind)), tmp_path)
    print(report)
    assert {strike.what for strike in report.pace.strikes} == set(Kind)
