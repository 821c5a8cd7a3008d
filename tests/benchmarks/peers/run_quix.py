"""W1 on Quix Streams: `run_quix.py BOOTSTRAP TOPIC GROUP FOLDER GUARANTEE`. RocksDB and a changelog."""

from __future__ import annotations

import sys
from typing import Any

from quixstreams import Application

bootstrap, topic, group, folder, guarantee = sys.argv[1:6]

app = Application(
    broker_address=bootstrap,
    consumer_group=group,
    auto_offset_reset="earliest",
    processing_guarantee=guarantee.replace("_", "-"),
    state_dir=folder,
    commit_interval=1.0,
    loglevel="WARNING",
)


def event_time(value: dict[str, Any], *_: Any) -> int:
    return int(value["ts"] * 1000)


views = app.topic(topic, value_deserializer="json", timestamp_extractor=event_time)
totals = app.dataframe(views).apply(lambda view: view["amount"]).tumbling_window(10_000).sum().current()

if __name__ == "__main__":
    app.run()
