"""Delays of the flights out of New York City, 2013: two declared tables, an agent, a replay that survives kill -9."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from data import flights  # beside this file; Flows looks there for it

import flows
from flows import col, count, hopping, max, mean, quantile, tumbling

app = flows.App("flights")


class Flight(flows.Record):
    carrier: str
    origin: str
    dest: str
    flight: int
    scheduled: float  # seconds since the epoch
    delay: float | None  # minutes; None: never left
    at: float | None  # actual departure: the event time


# For ever: Kafka counts retention from a record's own time, and would drop what is of 2013.
departures = app.topic("departures", value=Flight, key="origin", timestamp="at", partitions=4, retention=None)


@app.source(departures, total=lambda: flights().height)
def replay(position: int) -> Iterator[Flight]:
    """Yield the flights in order of scheduled departure, from `position` on."""
    for row in flights().slice(position).iter_rows():
        yield Flight(*row)


left = departures.filter(col("delay").is_not_null())

delays_by_carrier = (
    left.group_by("carrier")
    .window(tumbling("1h", grace="24h"))
    .agg(flights=count(), mean_delay=mean("delay"), p95_delay=quantile("delay", 0.95))
    .table("delays_by_carrier")
)

flights_by_route = (
    left.group_by("origin", "dest")
    .window(hopping("24h", "6h", grace="24h"))
    .agg(flights=count(), max_delay=max("delay"))
    .table("flights_by_route")
)

late_streak = app.table("late_streak", key=str, value=int, default=int)
alerts = app.topic("alerts", value=dict, retention=None)


@app.agent(left, sink=[alerts])
async def watch_streaks(stream: AsyncIterator[Flight]) -> AsyncIterator[dict[str, object]]:
    """Count flights in a row more than an hour late, by origin; tell from the fifth on."""
    async for flight in stream:
        late = flight.delay is not None and flight.delay > 60
        late_streak[flight.origin] = late_streak[flight.origin] + 1 if late else 0
        if late_streak[flight.origin] >= 5:
            yield {"origin": flight.origin, "in_a_row": late_streak[flight.origin], "flight": flight.flight}
