"""Visits to a site: sessions of clicks, and days as they are in Berlin."""

from __future__ import annotations

import flows
from flows import count, first, last, session, tumbling

app = flows.App("visits")


class Click(flows.Record):
    user: str
    page: str
    at: float


clicks = app.topic("clicks", value=Click, key="user", timestamp="at")

visits = (
    clicks.window(session("30m", grace="1m"))
    .agg(clicks=count(), came_to=first("page"), left_from=last("page"))
    .table("visits")
)
days = clicks.window(tumbling("1d", tz="Europe/Berlin")).agg(clicks=count()).table("clicks_per_day")
