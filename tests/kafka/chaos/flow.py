"""What the workers of a chaos run compute: tables with and without repartition, an agent with a table and a sink."""

from __future__ import annotations

from collections.abc import AsyncIterator

import flows
from flows import count, max, min, sum, tumbling

FLOW_ID = "chaos"
app = flows.App(FLOW_ID)


class Event(flows.Record):
    range: str  # "lo-hi": the integers that come with this key, each once
    number: int
    lane: str
    at: float


class Done(flows.Record):
    range: str
    number: int
    nth: int


# For ever: Kafka counts retention from a record's own time, and the events are of 2023.
events = app.topic("events", value=Event, key="range", timestamp="at", partitions=6, retention=None)
done = app.topic("done", value=Done, key="range", partitions=6, retention=None)

_numbers = {"events": count(), "total": sum("number"), "least": min("number"), "most": max("number")}

by_range = events.group_by("range").agg(**_numbers).table("by_range")
by_lane = events.group_by("lane", partitions=4).window(tumbling("10s", grace="1m")).agg(**_numbers).table("by_lane")

seen = app.table("seen", key=str, value=list[int], default=lambda: [0, 0])


@app.agent(events, sink=[done])
async def count_them(stream: AsyncIterator[Event]) -> AsyncIterator[Done]:
    """Keep count and sum of each range, and tell of each event which of its range it is."""
    async for event in stream:
        events_so_far, total = seen[event.range]
        seen[event.range] = [events_so_far + 1, total + event.number]
        yield Done(event.range, event.number, events_so_far + 1)
