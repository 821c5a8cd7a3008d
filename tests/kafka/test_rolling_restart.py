"""Three workers with ids of their own, restarted one after the other under load: nothing moves, nothing is restored."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kafka.chaos.faults import Faults
from tests.kafka.chaos.run import check_all, flowing, topics_made
from tests.kafka.chaos.watch import Pace
from tests.kafka.chaos.workers import Fleet, Worker
from tests.kafka.cluster import Cluster

_PATIENCE = 120.0


def _options(number: int) -> tuple[str, ...]:
    return ("--set", f"instance_id=machine-{number}", "--set", "lease=60s")


def _generations(cluster: Cluster) -> set[int]:
    """Return the generations of the group that the brokers have told of."""
    told = "".join(broker.log.read_text("utf-8", "replace") for broker in cluster.brokers)
    return {int(number) for number in re.findall(r"group chaos for generation (\d+)", told)}


def _held(worker: Worker) -> int:
    """Return how many tasks a process has at last said that it holds."""
    found = re.findall(r"holds (\d+) of 10 tasks", worker.said)
    return int(found[-1]) if found else 0


@pytest.mark.crash
async def test_a_rolling_restart_moves_and_restores_nothing(
    kafka_cluster: Callable[[], Cluster], tmp_path: Path
) -> None:
    cluster, pace = kafka_cluster(), Pace()
    fleet = Fleet(tmp_path, cluster.url)
    try:
        workers = [fleet.add(*_options(number)) for number in range(3)]
        await topics_made(Faults(cluster, fleet, pace, print), fleet)
        async with flowing(cluster, fleet, pace, seed=3, rate=100.0):
            await _until(pace, lambda: sorted(map(_held, workers)) == [3, 3, 4])
            await _more(pace, 500)
            before, shares = _generations(cluster), list(map(_held, workers))
            for number, worker in enumerate(workers):
                fleet.active.remove(worker)
                await asyncio.to_thread(worker.stop)
                worker.start(*_options(number))
                fleet.active.append(worker)
                await _until(pace, lambda worker=worker: worker.joined)
                await _more(pace, 300)
            assert list(map(_held, workers)) == shares
            assert _generations(cluster) == before
            for worker in workers:
                # The end of a task's last transaction takes an offset, which holds nothing.
                restores = [int(total) for total in re.findall(r"restore \S+: \d+ of (\d+)", worker.said)]
                assert max(restores, default=0) <= _held(worker), worker.said
        await check_all(cluster, fleet)
    finally:
        fleet.close()


async def _more(pace: Pace, count: int) -> None:
    """Wait until so many more events have come out."""
    enough = pace.processed + count
    await _until(pace, lambda: pace.processed >= enough)


async def _until(pace: Pace, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(_PATIENCE):
        await pace.until(condition)
