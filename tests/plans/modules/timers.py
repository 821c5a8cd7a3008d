"""A timer that reads the table of an agent; a timer, a crontab and a task that run in no task of the streams."""

from __future__ import annotations

import flows

app = flows.App("presence")
logins = app.topic("logins", value=str, partitions=2)
online = app.topic("online", value=dict)


@app.agent(logins)
async def remember(stream: flows.Stream) -> None:
    async for name in stream:
        seen[name] = seen[name] + 1


@app.timer("1m30s")
async def report() -> None:
    await online.send({"online": count_seen()})


@app.timer(0.5)
async def tick() -> None:
    await online.send({"tick": True})


@app.crontab("0 9 * * *", timezone="Europe/Oslo", on_leader=False)
async def good_morning() -> None:
    await online.send({"morning": True})


@app.task(on_leader=True)
async def lead() -> None:
    await online.send({"lead": True})


def count_seen() -> int:
    return sum(1 for _ in seen)


seen = app.table("seen", key=str, value=int, default=int)
