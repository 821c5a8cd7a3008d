"""Fixtures of the contract suites: each is parametrised by the implementations there are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flows.brokers.base import Broker
from flows.clock import ManualClock
from tests.contracts.broker_fixtures import KINDS, Handles, Topics


@pytest.fixture(params=KINDS)
def broker_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "kafka":
        return str(request.getfixturevalue("kafka").url)
    return f"{request.param}://{tmp_path / 'broker'}"


@pytest.fixture
async def broker_handles(broker_url: str) -> AsyncIterator[Handles]:
    handles = Handles(broker_url)
    yield handles
    await handles.close()


@pytest.fixture
async def broker(broker_handles: Handles) -> Broker:
    return await broker_handles.open()


@pytest.fixture
def broker_clock() -> ManualClock:
    return ManualClock(1_700_000_000.0)


@pytest.fixture
def broker_topic(broker: Broker) -> Topics:
    return Topics(broker)
