"""What holds for all tests: random histories are the same at each run, and a Kafka is there for who asks for it."""

from __future__ import annotations

import os
import signal

import polars as pl
import pytest

from tests.drawn import THOROUGH
from tests.kafka.fixtures import FIXTURES, _three, kafka, kafka_cluster, kafka_secure, kafka_three

_TOLD = 6_000
"""Characters of a failure that are said at once; the summary has all."""

__all__ = ["_three", "kafka", "kafka_cluster", "kafka_secure", "kafka_three"]

# A suite that runs in the background of a shell has Ctrl-C ignored, and so have the processes that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

if not THOROUGH:
    # Most tests work on tiny frames: to hand one to a pool of threads costs more than the work on it. The pool is made
    # at its first use; the processes that tests start have threads as a user's have.
    os.environ["POLARS_MAX_THREADS"] = "1"
    pl.thread_pool_size()
    del os.environ["POLARS_MAX_THREADS"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that takes a Kafka."""
    for item in items:
        if FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("kafka")


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Say at once what failed and how: a run that does not come to its end has no summary."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        print(f"\n\n{report.when} of {report.nodeid} failed:\n{report.longreprtext[-_TOLD:]}", flush=True)
