"""The demo on the whole year: its tables equal what polars computes from the CSV, whatever happens to the worker."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flights import expected
from tests.flights.checks import assert_alerts_are_exact, assert_tables_are_exact
from tests.flights.part import package_of
from tests.flights.workers import Process, until_replayed
from tests.kafka.cluster import Cluster

YEAR = 336_776
SPRING = 4
"""Months that are enough where workers share or hand over: 110,000 flights."""


async def test_the_drained_year_is_exact(tmp_path: Path) -> None:
    assert Process(tmp_path / "data", "--drain").wait() == 0
    assert_tables_are_exact(tmp_path / "data", expected.departures())
    await assert_alerts_are_exact(tmp_path / "data", expected.departures())


async def test_the_drained_year_is_exact_on_kafka(tmp_path: Path, kafka_cluster: Callable[[], Cluster]) -> None:
    broker = kafka_cluster().url
    log = tmp_path / "worker.log"
    assert Process(tmp_path / "data", "--broker", broker, "--drain", log=log).wait() == 0, log.read_text()
    assert_tables_are_exact(tmp_path / "data", expected.departures(), broker)
    assert_tables_are_exact(tmp_path / "elsewhere", expected.departures(), broker)
    await assert_alerts_are_exact(tmp_path / "data", expected.departures(), broker)


@pytest.mark.crash
async def test_a_worker_killed_again_and_again_loses_and_doubles_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    chance = random.Random(20130101)
    for count in sorted(chance.sample(range(1_000, YEAR - 1_000), 5)):
        process = Process(data)
        try:
            await until_replayed(data, count, process)
        finally:
            process.kill()
    assert Process(data, "--drain").wait() == 0
    assert_tables_are_exact(data, expected.departures())
    await assert_alerts_are_exact(data, expected.departures())


@pytest.mark.crash
async def test_two_workers_share_the_flights_and_one_is_killed(tmp_path: Path) -> None:
    data, packages = tmp_path / "data", package_of(SPRING, tmp_path / "packages")
    options = ("--set", "lease=2s")
    first = Process(data, *options, log=tmp_path / "first.log", packages=packages)
    await until_replayed(data, 2_000, first)
    second = Process(data, *options, "--drain", log=tmp_path / "second.log", packages=packages)
    try:
        await until_replayed(data, 40_000, first)
    finally:
        first.kill()
    assert second.wait() == 0, (tmp_path / "second.log").read_text()
    assert_tables_are_exact(data, expected.departures(SPRING))
    await assert_alerts_are_exact(data, expected.departures(SPRING))


async def test_ctrl_c_commits_and_the_next_start_goes_on(tmp_path: Path) -> None:
    data, packages = tmp_path / "data", package_of(SPRING, tmp_path / "packages")
    process = Process(data, packages=packages)
    await until_replayed(data, 40_000, process)
    process.interrupt()
    assert process.wait() == 0
    assert Process(data, "--drain", packages=packages).wait() == 0
    assert_tables_are_exact(data, expected.departures(SPRING))
