"""W1 on Bytewax: `run_bytewax.py BOOTSTRAP TOPIC GROUP FOLDER`. Snapshots in SQLite each second, at least once."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, TumblingWindower, fold_window
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

bootstrap, topic, group, folder = sys.argv[1:5]


class Nowhere(StatelessSinkPartition[Any]):
    def write_batch(self, items: list[Any]) -> None:
        pass


class NowhereSink(DynamicSink[Any]):
    """A flow must end somewhere; what is measured is the state."""

    def build(self, *_: Any) -> Nowhere:
        return Nowhere()


def decode(message: Any) -> tuple[str, tuple[float, float]]:
    view = orjson.loads(message.value)
    return view["user"], (view["ts"], view["amount"])


def event_time(item: tuple[float, float]) -> datetime:
    return datetime.fromtimestamp(item[0], UTC)


flow = Dataflow("w1")
views = op.map("decode", op.input("views", flow, KafkaSource([bootstrap], [topic], batch_size=10_000)), decode)
totals = fold_window(
    "totals",
    views,
    EventClock(event_time, wait_for_system_duration=timedelta()),
    TumblingWindower(length=timedelta(seconds=10), align_to=datetime(2023, 1, 1, tzinfo=UTC)),
    float,
    lambda total, item: total + item[1],
    lambda one, other: one + other,
    ordered=False,
)
op.output("nowhere", totals.down, NowhereSink())

if __name__ == "__main__":
    snapshots = Path(folder)
    init_db_dir(snapshots, 1)
    cli_main(flow, epoch_interval=timedelta(seconds=1), recovery_config=RecoveryConfig(snapshots))
