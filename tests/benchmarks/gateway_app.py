"""What stands behind the gateway that is measured: events counted by user, in a live table."""

from __future__ import annotations

import flows
from flows import count


class Click(flows.Record):
    number: int
    user: str
    amount: float


app = flows.App("gateway-bench")
clicks = app.topic("clicks", value=Click, key="user", partitions=4)
clicks.group_by("user").agg(clicks=count()).table("clicks_by_user")
