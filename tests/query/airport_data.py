"""An app and the bytes that a worker would have committed for it, written without one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

import flows
from dsl.plan.graph import Plan
from flows.brokers.base import Broker, Outgoing, TopicPartition
from flows.compile.names import changelog, topic_specs
from flows.operate.aggregates import Aggregation
from flows.operate.base import OFFSET, PARTITION, TIME, WATERMARK
from flows.query.rows import Entry
from flows.state.base import StoreWrite
from flows.state.keys import KeyCodec
from flows.state.rocks import RocksStore
from flows.state.rocks_options import RocksResources

HOUR = 3_600_000_000

app = flows.App("airport", partitions=2)


class Departure(flows.Record):
    carrier: str
    delay: float | None
    at: float


class Streak(flows.Record):
    length: int
    worst: float | None = None


departures = app.topic("departures", value=Departure, key="carrier", timestamp="at")
delays = (
    departures.group_by("carrier")
    .window(flows.tumbling("1h"))
    .agg(flights=flows.count(), mean_delay=flows.mean("delay"))
    .table("delays")
)
in_a_row = app.table("in_a_row", key=str, value=int, default=int)
streaks = app.table("streaks", key=tuple[str, int], value=Streak)
notes = app.table("notes", key=str, value=dict)


@app.agent(departures, tables=[in_a_row, streaks, notes])
async def watch(stream: Any) -> None:
    async for _ in stream:
        pass


def plan() -> Plan:
    return app.plan()


def delay_entries(groups: Mapping[tuple[str, int], list[float | None]]) -> list[Entry]:
    """Encode the rows of `delays`: delays by carrier and hour."""
    node = plan().table_nodes()["delays"]
    aggregation = Aggregation(node.aggregates)  # type: ignore[union-attr]
    rows = [(carrier, hour * HOUR, delay) for (carrier, hour), found in groups.items() for delay in found]
    frame = pl.DataFrame(
        {
            "carrier": [r[0] for r in rows],
            "hour": [r[1] for r in rows],
            TIME: [r[1] for r in rows],
            WATERMARK: [r[1] for r in rows],
            PARTITION: [0] * len(rows),
            OFFSET: list(range(len(rows))),
            "delay": pl.Series([r[2] for r in rows], dtype=pl.Float64),
        }
    )
    frame = frame.with_columns(pl.col("delay").alias(name) for name, _ in aggregation.inputs)
    gathered = aggregation.gather([aggregation.partial(frame, ["carrier", "hour"])], ["carrier", "hour"])
    states = aggregation.merge([None] * gathered.height, gathered)
    keys = KeyCodec((str,), windowed=True).encode_columns([gathered["carrier"].to_list()], gathered["hour"].to_list())
    return sorted(zip(keys, states, strict=True))


def dict_entries(table: str, items: Mapping[Any, Any]) -> list[Entry]:
    """Encode the rows of a dictionary table."""
    codec = KeyCodec((plan().types[table].key_type,))
    return sorted((codec.encode(k), msgspec.msgpack.encode(v)) for k, v in items.items())


async def create_topics(broker: Broker) -> None:
    """Make the topics that a worker makes."""
    for spec in topic_specs(plan()):
        await broker.create_topic(spec)


async def log(broker: Broker, table: str, partition: int, entries: Iterable[tuple[bytes, bytes | None]]) -> int:
    """Append to a table's changelog; return its end."""
    tp = TopicPartition(changelog("airport", table), partition)
    out = Outgoing()
    for key, value in entries:
        out.append(key, value, 0)
    return (await broker.produce({tp: out}))[tp]


def store(folder: Path, table: str, entries: Iterable[Entry], position: int) -> None:
    """Write a task's store."""
    made = RocksStore(folder, RocksResources())
    made.create_table(table)
    made.write(StoreWrite(puts={table: dict(entries)}, positions={table: position}))
    made.close()
