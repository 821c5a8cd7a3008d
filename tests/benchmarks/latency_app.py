"""One hop: events filtered and given a column, to a topic; a count beside it, so that commits have state to write."""

from __future__ import annotations

import os

import flows
from flows import col, count


class Click(flows.Record):
    number: int
    user: str
    amount: float


group = os.environ["W1_GROUP"]
app = flows.App(group)
clicks = app.topic(os.environ["W1_TOPIC"], value=Click, key="user", partitions=8, retention=None)
kept = clicks.filter(col("amount") > 1.0).with_columns(double=col("amount") * 2)
kept.to(app.topic(f"{group}-out", value=dict, partitions=8, retention=None))
kept.group_by("user").agg(clicks=count()).table("clicks_by_user")
