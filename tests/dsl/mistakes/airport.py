"""The flow that the mistakes are made in. Each of their functions makes one, on the line marked `# here`.

`test_mistakes.py` runs them; the texts that they must give stand in `mistakes.txt`.
"""

from __future__ import annotations

import flows


class Departure(flows.Record):
    carrier: str
    origin: str
    delay: float | None
    seats: int
    tags: list[str]
    at: float


def app() -> flows.App:
    return flows.App("airport")


def delays() -> flows.Table:
    return departures().group_by("origin").agg(delay=flows.mean("delay"), carrier=flows.last("carrier")).table("delays")


def departures(of: flows.App | None = None) -> flows.Topic:
    return (of or app()).topic("departures", value=Departure, key="origin", timestamp="at", partitions=4)
