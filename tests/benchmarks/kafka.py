"""`make bench ARGS=--kafka` and `ARGS=--peers`: W1 on a real Kafka broker, Flows alone or against its peers."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.contestants import CONTESTANTS, Contestant
from tests.benchmarks.race import race
from tests.kafka.cluster import Cluster

OURS = [contestant for contestant in CONTESTANTS if contestant.name.startswith("flows")]
PEERS = [contestant for contestant in CONTESTANTS if contestant not in OURS]
NAMES = [contestant.name for contestant in CONTESTANTS]


def run(chosen: list[Contestant], count: int, runs: int) -> list[dict[str, Any]]:
    """Race on one broker, round after round; before each peer comes Flows, so that pairs share the machine's mood."""
    found = []
    with (
        tempfile.TemporaryDirectory(prefix="flows-bench-") as folder,
        Cluster(Path(folder) / "kafka", heap="1g", optimised=True) as cluster,
    ):
        for _ in range(runs):
            for contestant in _paired(chosen):
                figures = asyncio.run(race(contestant, cluster, count, Path(folder)))
                found.append(figures)
                print(_line(figures), flush=True)
    return found


def _paired(chosen: list[Contestant]) -> list[Contestant]:
    ours, peers = [c for c in chosen if c in OURS], [c for c in chosen if c in PEERS]
    return [*ours, *(c for peer in peers for c in ([peer] if peer is peers[0] else [*ours[:1], peer]))]


def _line(figures: dict[str, Any]) -> str:
    return (
        f"{figures['contestant']:28} {figures['events_per_second']:>9,} events/s   {figures['durability']}; "
        f"{figures['events']:,} events, {figures['cpu_seconds']} s of CPU, "
        f"the broker's {figures['broker_cpu_seconds']}, load {figures['load']}"
    )


def ratios(found: list[dict[str, Any]]) -> list[str]:
    """Tell how many times a peer's events a second Flows reaches, by the clock and by the CPU second; medians."""

    def rate(name: str, seconds: str) -> float | None:
        runs = [f["events"] / f[seconds] for f in found if f["contestant"] == name]
        return median(runs) if runs else None

    lines = []
    for ours in (contestant.name for contestant in OURS):
        for peer in (contestant.name for contestant in PEERS):
            pairs = [(rate(ours, seconds), rate(peer, seconds)) for seconds in ("seconds", "cpu_seconds")]
            told = [f"{mine / theirs:.1f}" for mine, theirs in pairs if mine and theirs]
            if told:
                lines.append(f"{ours} / {peer}: {told[0]} times by the clock, {told[1]} times by the CPU second")
    return lines
