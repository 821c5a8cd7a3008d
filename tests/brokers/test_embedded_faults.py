"""What goes wrong on a machine: each error is one line that names the place and the fix, and nothing is half done."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.brokers.base import Outgoing, TopicPartition, TopicSpec, Transaction
from flows.brokers.embedded import EmbeddedBroker, schema
from flows.brokers.embedded.turn import Turn
from flows.errors import BrokerError, BrokerUnavailable, FlowsError
from tests.contracts.broker_fixtures import outgoing, read_all, values

TP = TopicPartition("events", 0)
NOBODY = 65534


async def start_fails(folder: Path) -> FlowsError:
    with pytest.raises(BrokerError) as raised:
        await EmbeddedBroker(folder).start()
    assert "\n" not in str(raised.value)
    assert str(folder) in str(raised.value)
    assert raised.value.fix
    return raised.value


async def test_a_file_that_is_no_database_is_said(tmp_path: Path):
    (tmp_path / "broker.db").write_bytes(b"these are my notes, not a database" * 100)

    error = await start_fails(tmp_path)

    assert "file is not a database" in str(error)
    assert "restore it from a backup" in error.fix


async def test_a_database_of_another_program_is_left_alone(tmp_path: Path):
    database = sqlite3.connect(tmp_path / "broker.db")
    database.execute("CREATE TABLE mine (x)")
    database.close()

    assert "is an SQLite file of another program" in str(await start_fails(tmp_path))


async def test_a_newer_layout_is_refused(tmp_path: Path):
    broker = EmbeddedBroker(tmp_path)
    await broker.start()
    await broker.close()
    database = sqlite3.connect(tmp_path / "broker.db")
    database.execute("PRAGMA user_version=99")
    database.close()

    assert "has layout 99, this Flows reads layout 2" in str(await start_fails(tmp_path))


async def test_a_folder_that_is_a_file_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("")

    assert "name a folder" in (await start_fails(tmp_path / "file")).fix
    assert "name a folder" in (await start_fails(tmp_path / "file" / "below")).fix


@contextmanager
def as_somebody_else() -> Iterator[None]:
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Path]:
    """A folder that others may enter, but only its owner may change."""
    folder = tmp_path / "theirs"
    for parent in (tmp_path, tmp_path.parent):
        parent.chmod(0o755)
    folder.mkdir()
    yield folder
    folder.chmod(0o755)


@pytest.mark.parametrize("there", [False, True])
async def test_a_folder_that_one_may_not_write_is_said(theirs: Path, there: bool):
    if there:
        await (owner := EmbeddedBroker(theirs)).start()
        await owner.close()
    os.chmod(theirs, 0o555)

    with as_somebody_else():
        error = await start_fails(theirs)

    assert isinstance(error, BrokerUnavailable)
    assert f"write to {theirs}" in error.fix


async def test_a_deleted_file_is_said_by_the_next_start_of_a_connection(tmp_path: Path):
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        schema.connect(tmp_path / "broker.db", schema.BROKER)


async def test_a_closed_broker_says_so(broker: EmbeddedBroker):
    await broker.create_topic(TopicSpec(name="events"))
    producer = await broker.producer("task")
    await broker.close()
    await broker.close()

    for call in (broker.topics(), broker.produce({}), broker.producer("x"), producer.commit(Transaction(group="g"))):
        with pytest.raises(BrokerError, match="the broker is"):
            await call


async def test_a_broker_is_not_used_across_a_fork(broker: EmbeddedBroker):
    await broker.create_topic(TopicSpec(name="events"))
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is the point
        child = os.fork()
    if child == 0:
        try:
            broker.reader({})
        except BrokerError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    await asyncio.to_thread(os.waitpid, child, 0)
    os.close(writing)

    said = os.read(reading, 1000).decode()
    os.close(reading)
    assert "opened before a fork; open a broker of its own in each process" in said
    assert await broker.produce({TP: outgoing(1)}) == {TP: 1}


@pytest.mark.parametrize(
    ("out", "said"),
    [
        (Outgoing(["k"], [b"v"], [0]), "the key of record 0 of 1 is not bytes or None"),  # type: ignore[list-item]
        (Outgoing([b"k", b"k"], [b"v", "v"], [0, 0]), "the value of record 1 of 2 is not bytes or None"),  # type: ignore[list-item]
        (Outgoing([b"k"], [b"v"], [0.5]), "the timestamp of record 0 of 1 is not whole milliseconds"),  # type: ignore[list-item]
        (Outgoing([b"k"], [b"v", b"w"], [0]), "differ in length"),
    ],
)
async def test_what_is_not_a_record_is_refused_before_it_can_stop_every_reader(
    broker: EmbeddedBroker, out: Outgoing, said: str
):
    await broker.create_topic(TopicSpec(name="events"))

    with pytest.raises(BrokerError, match=said):
        await broker.produce({TP: out})


async def test_closing_ends_what_waits(broker: EmbeddedBroker):
    await broker.create_topic(TopicSpec(name="events"))
    membership = await broker.join("group", "me", {"task": ()})
    await membership.assignment()
    waiting = [
        asyncio.ensure_future(broker.reader({TP: 0}).fetch(10, 60)),
        asyncio.ensure_future(membership.assignment()),
    ]
    await asyncio.sleep(0)

    await broker.close()

    async with asyncio.timeout(20):
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert ["the broker is" in str(outcome) for outcome in outcomes] == [True, True]


async def test_a_damaged_batch_is_named(broker: EmbeddedBroker):
    await broker.create_topic(TopicSpec(name="events"))
    await broker.produce({TP: outgoing(1)})
    await broker.produce({TP: outgoing(2)})
    database = sqlite3.connect(broker.folder / "broker.db", isolation_level=None)
    database.execute("UPDATE batches SET data = x'ff00' WHERE next = 2")
    database.close()

    with pytest.raises(BrokerError, match="events/0: the batch at offset 1 is damaged"):
        await broker.reader({TP: 0}).fetch(10, 0)


async def test_a_cancelled_commit_that_was_not_begun_is_not_applied(broker: EmbeddedBroker):
    await broker.create_topic(TopicSpec(name="events"))
    busy = Turn(broker.folder)
    with busy:  # the writer waits for its turn
        first = asyncio.ensure_future(broker.produce({TP: outgoing(1)}))
        second = asyncio.ensure_future(broker.produce({TP: outgoing(2)}))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
    await first
    busy.close()

    assert values(await read_all(broker, TP)) == [b"1"]
