"""The benchmarks on Kafka run, on few events: what they print is measured, so figures are not looked at here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import kafka as bench
from tests.benchmarks import restoring
from tests.benchmarks.contestants import Contestant
from tests.benchmarks.latency import PACE, Run
from tests.benchmarks.race import race
from tests.kafka.cluster import Cluster


@pytest.mark.parametrize("contestant", bench.OURS, ids=lambda contestant: contestant.name)
async def test_a_race_ends_with_all_events_committed(kafka: Cluster, tmp_path: Path, contestant: Contestant) -> None:
    found = await race(contestant, kafka, 2_000, tmp_path)
    assert (found["events"], found["contestant"]) == (2_000, contestant.name)


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
async def test_every_event_of_a_latency_run_comes_out(kafka: Cluster, tmp_path: Path, guarantee: str) -> None:
    found = await Run(kafka, guarantee, 0.6, tmp_path)()
    assert found["events"] == PACE * 0.6 - PACE * 0.1
    assert found["p50_ms"] <= found["p99_ms"] <= found["p999_ms"] <= found["max_ms"]


async def test_a_restore_brings_all_rows(kafka: Cluster, tmp_path: Path) -> None:
    found = await restoring.measure(kafka, 16_000, 2_000, tmp_path)
    assert (found["records"], found["rows"]) == (16_000, 8_000)


def test_ratios_are_those_of_the_medians() -> None:
    runs = [("flows", 1.0, 2.0), ("faust", 40.0, 40.0), ("flows", 3.0, 2.0), ("faust", 40.0, 20.0), ("flows", 2.0, 4.0)]
    found = [{"contestant": name, "events": 100, "seconds": wall, "cpu_seconds": cpu} for name, wall, cpu in runs]
    assert bench.ratios(found) == ["flows / faust: 20.0 times by the clock, 13.3 times by the CPU second"]
