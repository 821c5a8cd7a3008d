"""One app whose output topic feeds another sub-topology: two tables from one table's changes."""

from __future__ import annotations

import flows
from flows import col, count, last, tumbling

app = flows.App("clicks", partitions=2)


class Click(flows.Record):
    user: str
    page: str
    at: int


class Session(flows.Record):
    user: str
    clicks: int
    window_start: float


clicks = app.topic("clicks", value=Click, timestamp="at", unit="us")
sessions = app.topic("sessions", value=Session, key="user", timestamp="window_start")

clicks.group_by("user").window(tumbling("30m")).agg(clicks=count()).table("clicks_by_user").to(sessions)
clicks.group_by("page").window(tumbling("30m")).agg(clicks=count()).table("clicks_by_page")
busy = sessions.filter(col("clicks") > 100).filter(col("user").starts_with("bot-") | (col("user") == 'a "b"'))
busy.window(tumbling("1d", grace="30m")).agg(clicks=last("clicks")).table("busy_users")
