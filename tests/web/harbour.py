"""An app whose tables show each way in which a key finds its partition; run by the workers of the cluster tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import flows
from flows import count, sum, tumbling

app = flows.App("harbour", partitions=4)


class Arrival(flows.Record):
    ship: str
    port: str
    tons: int
    at: float


arrivals = app.topic("arrivals", value=Arrival, key="ship", timestamp="at", partitioned_by="murmur2")
tons_by_port = (
    arrivals.group_by("port").window(tumbling("1h", grace="24h")).agg(ships=count(), tons=sum("tons")).table("by_port")
)
tons_by_ship = arrivals.group_by("ship").agg(tons=sum("tons")).table("by_ship")
visits = app.table("visits", key=str, value=int, default=int)


@app.agent(arrivals)
async def count_visits(stream: AsyncIterator[Arrival]) -> None:
    async for arrival in stream:
        visits[arrival.ship] += 1
