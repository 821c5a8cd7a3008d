"""An agent over a filtered stream of untyped and typed topics, with copies by key and errors that stop."""

from __future__ import annotations

from collections.abc import AsyncIterator

import flows
from flows import col

app = flows.App("weather")


class Reading(flows.Record):
    station: str
    celsius: float


readings = app.topic("readings", value=Reading, key="station", partitions=8, partitioned_by="murmur2")
raw = app.topic("raw", value=bytes)
frost = app.topic("frost", value=str)


@app.agent(readings.filter(col("celsius") < 0), sink=[frost], concurrency=4, on_error="stop", retries=0)
async def warn(stream: flows.Stream) -> AsyncIterator[str]:
    async for reading in stream:
        yield reading.station


@app.agent(raw)
async def keep(stream: flows.Stream) -> None:
    async for _ in stream:
        pass
