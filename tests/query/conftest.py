from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flows.brokers.base import Broker
from flows.brokers.registry import open_broker
from tests.query.airport_data import create_topics


@pytest.fixture
async def airport_broker(tmp_path: Path) -> AsyncIterator[Broker]:
    broker = open_broker(f"embedded://{tmp_path / 'broker'}")
    await broker.start()
    await create_topics(broker)
    yield broker
    await broker.close()
