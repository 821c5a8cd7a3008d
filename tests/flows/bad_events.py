"""The events of the tests of bad data, and an app that counts and copies them."""

from __future__ import annotations

from typing import Any

import flows
from flows import count, last, sum, tumbling

NOW = 1_400_000_000.0


class Event(flows.Record):
    user: str | None
    n: int = 0
    x: float | None = None
    at: float | None = 0.0
    text: str = ""


def setup(**topic: Any) -> tuple[flows.App, flows.Topic, flows.Table, flows.Topic]:
    app = flows.App("bad")
    events = app.topic("events", value=Event, timestamp="at", **topic)
    out = app.topic("out", value=dict)
    table = (
        events.group_by("user")
        .window(tumbling("1h", grace="1000d"))
        .agg(events=count(), n=sum("n"), x=sum("x"), text=last("text"))
        .table("by_user")
    )

    @app.agent(events, sink=[out])
    async def copy(stream):
        async for event in stream:
            yield {"user": event.user}

    return app, events, table, out
