"""Disks that fill up, fail or are locked by others: whole transactions or nothing, and a way on."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.brokers.base import Committed, Outgoing, TopicPartition, TopicSpec, Transaction
from flows.brokers.embedded import EmbeddedBroker, schema
from flows.clock import ManualClock
from flows.errors import BrokerUnavailable, OutcomeUnknown
from tests.contracts.broker_fixtures import outgoing, read_all, values

TP = TopicPartition("events", 0)


def big(count: int) -> Outgoing:
    return Outgoing([None] * count, [bytes(1000)] * count, [0] * count)


async def test_a_full_disk_refuses_whole_transactions_and_passes_when_there_is_room(tmp_path: Path, clock: ManualClock):
    broker = EmbeddedBroker(tmp_path, clock, maintenance=None, max_bytes=3_000_000)
    await broker.start()
    await broker.create_topic(TopicSpec(name="events", partitions=2, retention=60))
    producer, other = await broker.producer("task"), TopicPartition("events", 1)
    done = 0

    async def fill() -> None:
        nonlocal done
        while True:
            pair = {other: outgoing(done), TP: big(300)}
            await producer.commit(Transaction(group="g", outputs=pair, offsets={TP: Committed(done)}))
            done += 1

    with pytest.raises(BrokerUnavailable, match="full; free some space"):
        await fill()

    assert 5 < done < 15
    assert await broker.end_offsets([TP, other]) == {TP: 300 * done, other: done}
    assert await broker.committed("g", [TP]) == {TP: Committed(done - 1)}
    clock.advance(61)
    await broker.maintain()
    assert await broker.produce({TP: big(300)}) == {TP: 300 * (done + 1)}
    await broker.close()


async def test_what_frees_space_still_works_when_appends_have_to_stop(tmp_path: Path):
    broker = EmbeddedBroker(tmp_path, maintenance=None)
    await broker.start()
    await broker.create_topic(TopicSpec(name="events"))
    await broker.produce({TP: big(10)})
    await broker.close()
    broker = EmbeddedBroker(tmp_path, maintenance=None, min_free_bytes=1 << 60)
    await broker.start()
    producer = await broker.producer("task")

    with pytest.raises(BrokerUnavailable, match="bytes are free on its disk"):
        await broker.produce({TP: outgoing(1)})
    with pytest.raises(BrokerUnavailable, match="bytes are free on its disk"):
        await producer.commit(Transaction(group="g", outputs={TP: outgoing(1)}, offsets={TP: Committed(1)}))
    await producer.commit(Transaction(group="g", offsets={TP: Committed(10)}))
    await broker.purge({TP: 10})
    await broker.maintain()

    assert await broker.start_offsets([TP]) == await broker.end_offsets([TP]) == {TP: 10}
    await broker.close()


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_an_error_of_the_commit_itself_leaves_the_outcome_unknown_and_the_broker_usable(
    broker: EmbeddedBroker,
):
    await broker.create_topic(TopicSpec(name="events"))
    await broker.produce({TP: outgoing(1)})
    size = (broker.folder / "broker.db-wal").stat().st_size

    with files_up_to(size + 50_000), pytest.raises(OutcomeUnknown, match="recover from the committed offsets"):
        await broker.produce({TP: big(500)})

    assert await broker.end_offsets([TP]) == {TP: 1}
    assert await broker.produce({TP: outgoing(2)}) == {TP: 2}
    assert values(await read_all(broker, TP)) == [b"1", b"2"]


async def test_a_file_locked_by_another_program_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(schema, "PATIENCE", 0.05)
    broker = EmbeddedBroker(tmp_path, maintenance=None)
    await broker.start()
    await broker.create_topic(TopicSpec(name="events"))
    shell = sqlite3.connect(tmp_path / "broker.db", isolation_level=None)
    shell.execute("BEGIN IMMEDIATE")

    outcomes = await asyncio.gather(*(broker.produce({TP: outgoing(n)}) for n in range(3)), return_exceptions=True)
    assert all(isinstance(error, BrokerUnavailable) and "keeps it locked" in str(error) for error in outcomes)
    shell.execute("ROLLBACK")
    assert await broker.produce({TP: outgoing(1)}) == {TP: 1}

    shell.close()
    await broker.close()
