"""Brokers of ours on the running clusters."""

from __future__ import annotations

import gc
import warnings
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from flows.brokers.base import Broker
from tests.contracts.broker_fixtures import Handles, Topics
from tests.kafka.cluster import Cluster


@pytest.fixture
async def opened() -> AsyncIterator[Callable[[Cluster], Handles]]:
    """Open brokers on a cluster: `await opened(cluster).open()`; all are closed at the end."""
    all_handles: list[Handles] = []

    def on(cluster: Cluster) -> Handles:
        all_handles.append(handles := Handles(cluster.url))
        return handles

    yield on
    for handles in all_handles:
        await handles.close()


@pytest.fixture
async def broker(kafka: Cluster, opened: Callable[[Cluster], Handles]) -> Broker:
    """One broker on the shared cluster."""
    return await opened(kafka).open()


@pytest.fixture
def broker_topic(broker: Broker) -> Topics:
    return Topics(broker)


@pytest.fixture(autouse=True)
def _clients_of_dead_brokers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Collect what aiokafka's clients leave open when brokers die, so that no later test is blamed for it."""
    yield
    if {"kafka_three", "kafka_cluster"}.intersection(request.fixturenames):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
