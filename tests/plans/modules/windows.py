"""Every kind of window."""

from __future__ import annotations

import flows
from flows import count, count_window, hopping, last, session, sliding, tumbling

app = flows.App("windows")


class Click(flows.Record):
    user: str
    page: str
    at: float


clicks = app.topic("clicks", value=Click, key="user", timestamp="at", partitions=2)
by_user = clicks.group_by("user")

by_user.window(tumbling("1d", offset="6h")).agg(clicks=count()).table("by_day_from_six")
by_user.window(tumbling("1d", tz="Europe/Berlin", emit="close")).agg(clicks=count()).table("by_day_in_berlin")
by_user.window(hopping("1w", "1d", tz="Asia/Tokyo", retention="30d")).agg(clicks=count()).table("by_week_in_tokyo")
by_user.window(tumbling("10s", time="processing", emit="close")).agg(clicks=count()).table("by_the_clock")
by_user.window(tumbling("1q")).agg(clicks=count()).table("by_quarter")
visits = by_user.window(session("30m", grace="1m", emit="close", retention="7d"))
visits.agg(clicks=count(), left_from=last("page")).table("visits")
by_user.window(sliding("10m", grace="1m")).agg(clicks=count()).table("bursts")
by_user.window(count_window(100, emit="close")).agg(page=last("page")).table("hundreds")
