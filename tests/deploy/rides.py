"""A small app whose records can be late and refused."""

from __future__ import annotations

import flows
from flows import count, tumbling

app = flows.App("rides")


class Ride(flows.Record):
    city: str
    at: float


rides = app.topic("rides", value=Ride, key="city", timestamp="at")
rides.group_by("city").window(tumbling("10s")).agg(rides=count()).table("by_city")
