"""What is looked up in: events counted by user, in a declared table and in a dictionary."""

from __future__ import annotations

from collections.abc import AsyncIterator

import flows
from flows import count, sum


class Click(flows.Record):
    user: str
    amount: float


app = flows.App("lookups-bench")
clicks = app.topic("clicks", value=Click, key="user", partitions=4, partitioned_by="murmur2")
clicks.group_by("user").agg(clicks=count(), spent=sum("amount")).table("declared")
seen = app.table("dictionary", key=str, value=int, default=int)


@app.agent(clicks)
async def see(stream: AsyncIterator[Click]) -> None:
    async for click in stream:
        seen[click.user] += 1
