"""What holds for all tests: random histories are the same at each run, and a Kafka is there for who asks for it."""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

from tests.kafka.fixtures import FIXTURES, _three, kafka, kafka_cluster, kafka_secure, kafka_three

__all__ = ["_three", "kafka", "kafka_cluster", "kafka_secure", "kafka_three"]

# A suite that runs in the background of a shell has Ctrl-C ignored, and so have the processes that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A red test is red again, and no busy machine makes one red.
settings.register_profile(
    "deterministic", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("deterministic")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that takes a Kafka."""
    for item in items:
        if FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("kafka")
