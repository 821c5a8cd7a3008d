"""The example of the design: a filtered, windowed table, and an agent with a dictionary table."""

from __future__ import annotations

from collections.abc import AsyncIterator

import flows
from flows import Stream, col, count, mean, quantile, tumbling

app = flows.App("airport")


class Departure(flows.Record):
    carrier: str
    origin: str
    delay: float | None
    at: float


departures = app.topic("departures", value=Departure, key="origin", timestamp="at", partitions=4)

delays = (
    departures.filter(col("delay").is_not_null())
    .group_by("carrier")
    .window(tumbling("1h", grace="10m"))
    .agg(flights=count(), mean_delay=mean("delay"), p95=quantile("delay", 0.95))
    .table("delays_by_carrier")
)

late = app.table("late_in_a_row", key=str, value=int, default=int)
alerts = app.topic("alerts", value=dict)


@app.agent(departures, sink=[alerts])
async def watch(stream: Stream) -> AsyncIterator[dict[str, object]]:
    async for d in stream:
        late[d.origin] = late[d.origin] + 1 if (d.delay or 0) > 60 else 0
        if late[d.origin] >= 5:
            yield {"origin": d.origin, "in_a_row": late[d.origin]}
