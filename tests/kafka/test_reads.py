"""Reading what others wrote: aborted, compacted, compressed; and partitions that must not wait for each other."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaProducer

from flows.brokers.base import Broker, Outgoing, TopicPartition
from flows.brokers.kafka import fetcher
from flows.brokers.kafka.cursor import ENOUGH
from flows.errors import UnknownTopic
from tests.contracts.broker_fixtures import Topics, outgoing, read_all, values
from tests.kafka.cluster import Cluster, unique

LONG = 20.0  # seconds; a test that waits this long has failed


async def _transactional(kafka: Cluster, count: int) -> list[AIOKafkaProducer]:
    """Start producers that are not ours."""
    made = [
        AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=unique("theirs"), retry_backoff_ms=10)
        for _ in range(count)
    ]
    for producer in made:
        await producer.start()
    return made


async def test_aborted_records_are_left_out_wherever_the_read_begins(
    kafka: Cluster, broker: Broker, broker_topic: Topics
) -> None:
    tp = TopicPartition(await broker_topic(), 0)
    one, two = await _transactional(kafka, 2)
    committed: list[tuple[int, bytes]] = []

    async def send(producer: AIOKafkaProducer, value: bytes, *, stays: bool) -> None:
        stored = await producer.send_and_wait(tp.topic, value, partition=0)
        if stays:
            committed.append((stored.offset, value))

    # Transactions that overlap, abort in turn and write several batches each.
    for turn in range(4):
        await one.begin_transaction()
        await send(one, b"one-%d-a" % turn, stays=turn % 2 == 0)
        await two.begin_transaction()
        await send(two, b"two-%d-a" % turn, stays=turn % 2 == 1)
        await send(one, b"one-%d-b" % turn, stays=turn % 2 == 0)
        await (one.commit_transaction if turn % 2 == 0 else one.abort_transaction)()
        await send(two, b"two-%d-b" % turn, stays=turn % 2 == 1)
        await (two.commit_transaction if turn % 2 == 1 else two.abort_transaction)()
    await one.stop()
    await two.stop()
    await broker.produce({tp: outgoing(1)})
    end = (await broker.end_offsets([tp]))[tp]
    committed.append((end - 1, b"1"))

    for start in range(end):
        found = await read_all(broker, tp, start)
        offsets = [offset for records in found for offset in records.offsets]
        assert list(zip(offsets, values(found), strict=True)) == [each for each in committed if each[0] >= start]


async def test_an_open_transaction_holds_back_what_is_behind_it(
    kafka: Cluster, broker: Broker, broker_topic: Topics
) -> None:
    tp = TopicPartition(await broker_topic(), 0)
    (theirs,) = await _transactional(kafka, 1)
    await theirs.begin_transaction()
    await theirs.send_and_wait(tp.topic, b"theirs", partition=0)
    await broker.produce({tp: outgoing(1)})
    reader = broker.reader({tp: 0})

    assert await reader.fetch(10, 0.1) == []
    await theirs.commit_transaction()
    found: list[bytes | None] = []
    while len(found) < 2:
        found += values(await reader.fetch(10, LONG))

    assert found == [b"theirs", b"1"]
    await theirs.stop()


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_compressed_batches_are_read(kafka: Cluster, broker: Broker, broker_topic: Topics, codec: str) -> None:
    tp = TopicPartition(await broker_topic(), 0)
    theirs = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, compression_type=codec)
    await theirs.start()
    sent = [b"%06d" % n * 100 for n in range(500)]
    batch = theirs.create_batch()
    for n, value in enumerate(sent):
        if batch.append(key=b"k", value=value, timestamp=n, headers=[("n", b"%d" % n), ("none", None)]) is None:
            await theirs.send_batch(batch, tp.topic, partition=0)
            batch = theirs.create_batch()
            batch.append(key=b"k", value=value, timestamp=n, headers=[("n", b"%d" % n), ("none", None)])
    await theirs.send_batch(batch, tp.topic, partition=0)
    await theirs.stop()

    found = await read_all(broker, tp)

    assert values(found) == sent
    assert [headers for records in found for headers in records.headers or ()] == [
        (("n", b"%d" % n), ("none", b"")) for n in range(500)
    ]


async def test_a_compacted_topic_is_read_across_its_holes(kafka: Cluster, broker: Broker) -> None:
    tp = TopicPartition(unique("compacted"), 0)
    quick = {"cleanup.policy": "compact", "segment.bytes": "1048576", "min.cleanable.dirty.ratio": "0.001"}
    quick |= {"segment.ms": "100", "max.compaction.lag.ms": "100"}
    settings = [word for name, value in quick.items() for word in ("--config", f"{name}={value}")]
    kafka.tool("TopicCommand", "--create", "--topic", tp.topic, *settings)

    async def write(turn: int) -> None:
        out = Outgoing()
        for n in range(100):
            # Kafka closes a segment, and only closed ones are compacted, by the records' times.
            out.append(b"%d" % (n % 10), b"%d.%d" % (turn, n), 1_700_000_000_000 + turn * 1_000)
        await broker.produce({tp: out})

    turn, offsets = 0, list(range(100))
    async with asyncio.timeout(120):
        while offsets == list(range(len(offsets))):  # until the cleaner has been there
            await write(turn)
            turn += 1
            found = await read_all(broker, tp)
            offsets = [offset for records in found for offset in records.offsets]

    last = {key: value for records in found for key, value in zip(records.keys, records.values, strict=True)}
    assert last == {b"%d" % n: b"%d.%d" % (turn - 1, 90 + n) for n in range(10)}
    assert offsets == sorted(set(offsets))
    assert len({*offsets}) == len(offsets)
    start = offsets[len(offsets) // 2] - 1  # the cleaner goes on meanwhile: there may be less, but nothing else
    after = await read_all(broker, tp, start)
    rest = [offset for records in after for offset in records.offsets]
    assert set(rest) <= {offset for offset in offsets if offset >= start}
    assert rest[-1] == offsets[-1]


@pytest.fixture
def patient_fetches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a fetch wait longer at the broker than a test lasts."""
    monkeypatch.setattr(fetcher, "_WAIT_MS", int(LONG * 3000))


@pytest.mark.usefixtures("patient_fetches")
async def test_a_busy_partition_does_not_wait_along_with_silent_ones(broker: Broker, broker_topic: Topics) -> None:
    topic = await broker_topic(partitions=8)
    busy, *silent = (TopicPartition(topic, n) for n in range(8))
    sent = [b"%07d" % n * 100 for n in range(5 * ENOUGH // 700)]
    await broker.produce({busy: Outgoing([None] * len(sent), list(sent), [0] * len(sent))})
    reader = broker.reader(dict.fromkeys([busy, *silent], 0))
    found: list[bytes | None] = []

    async with asyncio.timeout(LONG):
        while len(found) < len(sent):
            found += values(await reader.fetch(500, LONG))

    assert found == sent


@pytest.mark.usefixtures("patient_fetches")
async def test_a_new_reader_does_not_wait_along_with_silent_ones(broker: Broker, broker_topic: Topics) -> None:
    topic = await broker_topic(partitions=2)
    silent, there = TopicPartition(topic, 0), TopicPartition(topic, 1)
    await broker.produce({there: outgoing(1)})
    waiting = broker.reader({silent: 0})
    assert await waiting.fetch(10, 0.1) == []

    again = [broker.reader({there: 0}) for _ in range(2)]

    async with asyncio.timeout(LONG):
        for reader in again:
            assert values(await reader.fetch(10, LONG)) == [b"1"]


async def test_a_topic_that_is_deleted_while_it_is_read_is_named(broker: Broker, broker_topic: Topics) -> None:
    tp = TopicPartition(await broker_topic(), 0)
    reader = broker.reader({tp: 0})
    assert await reader.fetch(10, 0.1) == []

    await broker.delete_topic(tp.topic)

    async def read_on() -> None:
        while True:
            await reader.fetch(10, LONG)

    with pytest.raises(UnknownTopic, match=f"cannot read {tp}: it does not exist"):
        await asyncio.wait_for(read_on(), LONG)
