"""What goes by time, by purge and with its topic, and that the file shrinks after it."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from flows.brokers.base import Committed, Outgoing, TopicPartition, TopicSpec, Transaction
from flows.brokers.embedded import EmbeddedBroker
from flows.clock import ManualClock
from flows.errors import OffsetOutOfRange
from tests.contracts.broker_fixtures import outgoing, read_all, values

TP = TopicPartition("events", 0)


def batches(broker: EmbeddedBroker) -> int:
    database = sqlite3.connect(broker.folder / "broker.db")
    (count,) = database.execute("SELECT count(*) FROM batches").fetchone()
    database.close()
    return int(count)


async def test_batches_go_by_the_wall_clock_of_their_append(broker: EmbeddedBroker, clock: ManualClock):
    await broker.create_topic(TopicSpec(name="events", retention=60))
    await broker.produce({TP: outgoing(1, 2)})
    clock.advance(30)
    await broker.produce({TP: outgoing(3)})
    clock.advance(29)
    await broker.maintain()
    assert await broker.start_offsets([TP]) == {TP: 0}

    clock.advance(1)
    await broker.maintain()

    assert await broker.start_offsets([TP]) == {TP: 2}
    assert values(await read_all(broker, TP)) == [b"3"]
    with pytest.raises(OffsetOutOfRange, match="2 records are gone"):
        await broker.reader({TP: 0}).fetch(10, 0)
    clock.advance(60)
    await broker.maintain()
    assert await broker.start_offsets([TP]) == await broker.end_offsets([TP]) == {TP: 3}
    assert batches(broker) == 0


async def test_an_altered_retention_counts_for_what_is_there_already(broker: EmbeddedBroker, clock: ManualClock):
    await broker.create_topic(TopicSpec(name="events", retention=None))
    await broker.produce({TP: outgoing(1)})
    clock.advance(100)
    await broker.produce({TP: outgoing(2)})

    await broker.alter_retention("events", 60)
    await broker.maintain()

    assert values(await read_all(broker, TP)) == [b"2"]


async def test_without_retention_records_stay_for_ever(broker: EmbeddedBroker, clock: ManualClock):
    await broker.create_topic(TopicSpec(name="events", retention=None))
    await broker.produce({TP: outgoing(1)})
    clock.advance(1e9)

    await broker.maintain()

    assert values(await read_all(broker, TP)) == [b"1"]


async def test_a_purge_drops_the_batches_below_and_keeps_the_one_it_cuts(broker: EmbeddedBroker):
    await broker.create_topic(TopicSpec(name="events", partitions=4))
    tps = [TopicPartition("events", n) for n in range(4)]
    for _ in range(3):
        await broker.produce({tp: outgoing(*range(10)) for tp in tps})

    await broker.purge(dict.fromkeys(tps, 15))
    await broker.maintain()

    assert batches(broker) == 4 * 2
    assert values(await read_all(broker, tps[3])) == [b"%d" % n for n in (*range(5, 10), *range(10))]


async def test_a_topic_made_anew_starts_empty_and_without_positions(broker: EmbeddedBroker):
    await broker.create_topic(TopicSpec(name="events"))
    producer = await broker.producer("task")
    await producer.commit(Transaction(group="g", outputs={TP: outgoing(1)}, offsets={TP: Committed(1)}))
    await broker.delete_topic("events")
    await broker.create_topic(TopicSpec(name="events"))
    await broker.produce({TP: outgoing(7, 8)})

    await broker.maintain()

    assert values(await read_all(broker, TP)) == [b"7", b"8"]
    assert await broker.committed("g", [TP]) == {}
    assert batches(broker) == 1


async def test_the_file_shrinks_and_the_log_stays_bounded(broker: EmbeddedBroker, clock: ManualClock):
    await broker.create_topic(TopicSpec(name="events", retention=60))
    value = bytes(1000)
    path, log = broker.folder / "broker.db", broker.folder / "broker.db-wal"
    for _ in range(80):
        await broker.produce({TP: Outgoing([None] * 900, [value] * 900, [0] * 900)})
    full = path.stat().st_size
    assert full + log.stat().st_size > 70_000_000
    assert log.stat().st_size < 50_000_000

    clock.advance(61)
    await broker.maintain()
    await broker.close()

    assert path.stat().st_size < 12_000_000


async def test_the_background_does_a_round_by_itself(tmp_path: Path, clock: ManualClock):
    broker = EmbeddedBroker(tmp_path / "broker", clock, maintenance=0.01)
    await broker.start()
    await broker.create_topic(TopicSpec(name="events", retention=60))
    await broker.produce({TP: outgoing(1)})
    clock.advance(61)

    async with asyncio.timeout(20):
        while await broker.start_offsets([TP]) != {TP: 1}:
            await broker.topics()
    await broker.close()
