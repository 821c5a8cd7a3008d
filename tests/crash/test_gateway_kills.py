"""SIGKILL of a gateway under load: with clients that do not give up, each event is there exactly once."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from flows.brokers.registry import open_broker
from tests.contracts.broker_fixtures import KINDS
from tests.crash.gateways import Acknowledged, GatewayProcess, post_each, pour_all
from tests.web.gates import read_topic, values

pytestmark = pytest.mark.crash
CLIENTS, EACH, KILLS = 16, 40, 2


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "kafka":
        return str(request.getfixturevalue("kafka").url)
    return f"embedded://{tmp_path / 'broker'}"


@pytest.mark.parametrize("how", ["posts", "sockets"])
async def test_each_event_is_there_once(url: str, how: str, tmp_path: Path) -> None:
    app, acked = f"counter-{uuid4().hex[:8]}", Acknowledged()
    gateway = GatewayProcess(tmp_path, url, app)
    topic, count = f"{app}-numbers", CLIENTS * EACH
    shares = [range(n * EACH, (n + 1) * EACH) for n in range(CLIENTS)]
    gateway.start()
    try:
        async with asyncio.TaskGroup() as group:
            for n, share in enumerate(shares):
                if how == "posts":
                    group.create_task(post_each(gateway.address, topic, share, acked))
                else:
                    group.create_task(pour_all(gateway.address, topic, f"client-{n}", share, acked))
            for kill in range(KILLS):
                await acked.reach((kill + 1) * count // (KILLS + 2))
                gateway.kill()
                gateway.start()
        assert gateway.stop() == 0, gateway.log
    finally:
        gateway.kill()
    assert sorted(acked.events) == list(range(count))
    broker = open_broker(url)
    await broker.start()
    found = Counter(msgspec.json.decode(value)["number"] for value in values(await read_topic(broker, topic)))
    await broker.close()
    assert found == Counter(range(count))
