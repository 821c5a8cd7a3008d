"""Fixtures of running clusters. They are processes only: each test makes its clients in its own event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kafka.cluster import Cluster

FIXTURES = {"kafka", "kafka_secure", "kafka_three", "kafka_cluster"}


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One broker, shared by all tests: take names by `unique`, and leave it running."""
    with Cluster(tmp_path_factory.mktemp("kafka")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kafka_secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One broker with passwords, certificates and rights, shared by all tests."""
    with Cluster(tmp_path_factory.mktemp("kafka-secure"), secure=True) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def _three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("kafka-three"), 3) as cluster:
        yield cluster


@pytest.fixture
def kafka_three(_three: Cluster) -> Cluster:
    """Three brokers, shared by the tests of a module, which may kill them: each test finds all three up."""
    _three.start()
    return _three


@pytest.fixture
def kafka_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Cluster]]:
    """Start clusters of the test's own: `kafka_cluster(3, settings={…})`, with the arguments of `Cluster`."""
    started: list[Cluster] = []

    def start(brokers: int = 1, **options: Any) -> Cluster:
        cluster = Cluster(tmp_path_factory.mktemp("kafka-own"), brokers, **options)
        started.append(cluster)
        cluster.start()
        return cluster

    yield start
    for cluster in started:
        cluster.close()
