"""A replayed source, a hopping window over two keys that needs no repartition, and its late records."""

from __future__ import annotations

from collections.abc import Iterator

import flows
from flows import approx_distinct, col, count, hopping, max, quantile, when

app = flows.App("flights", partitions=3)


class Flight(flows.Record):
    origin: str
    dest: str
    tailnum: str | None
    dep_delay: float | None
    time_hour: int


flights = app.topic("flights", value=Flight, key="origin", timestamp="time_hour", unit="ms", retention=None)


@app.source(flights)
def replay(position: int) -> Iterator[Flight]:
    yield from ()


routes = (
    flights.with_columns(late=when(col("dep_delay") > 15).then(1.0).otherwise(0.0))
    .group_by("origin", "dest")
    .window(hopping("24h", "6h", grace="1h", emit="close", retention="30d"))
    .agg(
        flights=count(),
        delayed=count("dep_delay"),
        worst=max("dep_delay"),
        median=quantile("dep_delay", 0.5, error=0.02),
        planes=approx_distinct("tailnum", precision=10),
    )
    .table("routes")
)
missed = app.topic("missed", value=dict)


@app.agent(routes.late, sink=[missed], name="collect")
async def collect_late(stream: flows.Stream) -> None:
    async for _ in stream:
        pass
