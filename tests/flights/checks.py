"""Compare what Flows kept with what polars computes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl

from flows.brokers.base import TopicPartition
from flows.brokers.registry import open_broker
from tests.flights import expected

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "flights"


def query(data: Path, sql: str, broker: str = "embedded") -> list[dict[str, Any]]:
    """Ask by the command line."""
    command = [sys.executable, "-m", "flows", "query", "-A", str(EXAMPLE), "--data", str(data), "--broker", broker]
    done = subprocess.run([*command, sql, "--format", "json"], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


async def alerts_of(data: Path, url: str = "embedded") -> list[tuple[str, int, int]]:
    """Read the alert topic from its beginning: (origin, streak, flight)."""
    broker = open_broker(f"embedded://{data / 'broker'}" if url == "embedded" else url)
    await broker.start()
    try:
        place = TopicPartition("alerts", 0)
        ends = await broker.end_offsets([place])
        reader = broker.reader({place: 0})
        found: list[bytes | None] = []
        while reader.position(place) < ends[place]:
            for records in await reader.fetch(10_000, 1.0):
                found += records.values
        await reader.close()
    finally:
        await broker.close()
    rows = [json.loads(value or b"{}") for value in found]
    return [(r["origin"], r["in_a_row"], r["flight"]) for r in rows]


async def assert_alerts_are_exact(data: Path, flights: pl.DataFrame, broker: str = "embedded") -> None:
    """Each alert once; in order within an origin, since origins are different tasks."""
    found, wanted = await alerts_of(data, broker), expected.streaks(flights)[1]
    for origin in ("EWR", "JFK", "LGA"):
        assert [a for a in found if a[0] == origin] == [a for a in wanted if a[0] == origin]
    assert len(found) == len(wanted)


def assert_tables_are_exact(data: Path, flights: pl.DataFrame, broker: str = "embedded") -> None:
    """Compare all three tables, row by row."""
    wanted = expected.delays_by_carrier(flights)
    found = {(r["carrier"], r["window_start"]): r for r in query(data, "select * from delays_by_carrier", broker)}
    assert found.keys() == wanted.keys()
    for key, (count, mean, delays) in wanted.items():
        row = found[key]
        assert row["flights"] == count
        assert abs(row["mean_delay"] - mean) <= 1e-12 * max(1.0, sum(map(abs, delays)) / count)
        assert_quantile(row["p95_delay"], delays, 0.95)
    rows = query(data, "select * from flights_by_route", broker)
    routes = {(r["origin"], r["dest"], r["window_start"]): r for r in rows}
    assert {k: (r["flights"], r["max_delay"]) for k, r in routes.items()} == expected.flights_by_route(flights)
    streak = {r["key"]: r["value"] for r in query(data, "select * from late_streak", broker)}
    assert streak == expected.streaks(flights)[0]


def assert_quantile(found: float, ordered: list[int], q: float) -> None:
    """A quantile lies within 1 % of the values around its rank."""
    rank = q * (len(ordered) - 1)
    low, high = ordered[int(rank)], ordered[min(int(rank) + 1, len(ordered) - 1)]
    slack = 0.01 * max(abs(low), abs(high)) + 1e-9
    assert low - slack <= found <= high + slack, (found, low, high)
