"""Fixtures of the embedded broker's own tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flows.brokers.embedded import EmbeddedBroker
from flows.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_700_000_000.0)


@pytest.fixture
async def broker(tmp_path: Path, clock: ManualClock) -> AsyncIterator[EmbeddedBroker]:
    """A broker whose time stands still and whose housekeeping is done by hand."""
    broker = EmbeddedBroker(tmp_path / "broker", clock, maintenance=None)
    await broker.start()
    yield broker
    await broker.close()
