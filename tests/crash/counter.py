"""An app with one topic of numbers, whose name comes from outside: what the tests of killed gateways send."""

from __future__ import annotations

import os

import flows


class Counted(flows.Record):
    number: int


app = flows.App(os.environ.get("COUNTER_TOPIC", "counter"))
numbers = app.topic(f"{app.id}-numbers", value=Counted, partitions=3)
