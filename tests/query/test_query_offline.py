"""Tables of a data folder: the changelog is the truth, a store a head start on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.brokers.base import Broker, Outgoing, TopicPartition, Transaction
from flows.brokers.memory import MemoryBroker
from flows.compile.names import changelog
from flows.compile.tables import table_decoders
from flows.query.offline import RESERVED, OfflineTables, StoredTable
from flows.query.sql import run_sql
from flows.state.base import Store
from flows.state.keys import RESERVED_PREFIX
from flows.state.rocks import RocksStore
from flows.state.rocks_options import RocksResources
from tests.query.airport_data import create_topics, delay_entries, dict_entries, log, plan, store


def open_store(folder: Path) -> Store:
    return RocksStore(folder, RocksResources(), read_only=True)


def offline(broker: Broker, folder: Path, *, stores: bool = True) -> OfflineTables:
    tables = {
        name: StoredTable(
            decoder, changelog("airport", name), (folder / "departures" / "0", folder / "departures" / "1")
        )
        for name, decoder in table_decoders(plan()).items()
    }
    return OfflineTables(tables, broker, open_store if stores else None)


def test_the_reserved_prefix_is_that_of_the_stores() -> None:
    assert RESERVED == RESERVED_PREFIX


async def test_the_changelog_alone(airport_broker: Broker, tmp_path: Path) -> None:
    await log(airport_broker, "in_a_row", 0, [*dict_entries("in_a_row", {"EWR": 1, "JFK": 2})])
    await log(airport_broker, "in_a_row", 1, [(RESERVED + b"fingerprint", b"x"), *dict_entries("in_a_row", {"LGA": 3})])
    gone = dict_entries("in_a_row", {"JFK": 0})[0][0]
    await log(airport_broker, "in_a_row", 0, [*dict_entries("in_a_row", {"EWR": 5}), (gone, None)])
    tables = offline(airport_broker, tmp_path)
    assert await tables.rows("in_a_row") == [{"key": "EWR", "value": 5}, {"key": "LGA", "value": 3}]
    assert [i.name for i in tables.list()] == ["delays", "in_a_row", "streaks", "notes"]


async def test_a_key_in_two_partitions_is_two_rows_and_a_removal_takes_its_own(
    airport_broker: Broker, tmp_path: Path
) -> None:
    await log(airport_broker, "in_a_row", 0, [*dict_entries("in_a_row", {"EWR": 1, "JFK": 2})])
    await log(airport_broker, "in_a_row", 1, [*dict_entries("in_a_row", {"EWR": 3, "JFK": 4})])
    gone = dict_entries("in_a_row", {"JFK": 0})[0][0]
    await log(airport_broker, "in_a_row", 1, [(gone, None)])
    rows = await offline(airport_broker, tmp_path).rows("in_a_row")
    assert rows == [{"key": "EWR", "value": 1}, {"key": "EWR", "value": 3}, {"key": "JFK", "value": 2}]


async def test_a_store_is_caught_up_from_its_position(airport_broker: Broker, tmp_path: Path) -> None:
    first = dict_entries("in_a_row", {"EWR": 1, "JFK": 2})
    position = await log(airport_broker, "in_a_row", 0, first)
    # A row that only the store has shows that the head of the changelog was not read.
    store(tmp_path / "departures" / "0", "in_a_row", [*first, *dict_entries("in_a_row", {"ONLY": 9})], position)
    await log(airport_broker, "in_a_row", 0, [*dict_entries("in_a_row", {"EWR": 7}), (first[1][0], None)])
    tables = offline(airport_broker, tmp_path)
    assert await tables.rows("in_a_row") == [{"key": "EWR", "value": 7}, {"key": "ONLY", "value": 9}]
    alone = offline(airport_broker, tmp_path, stores=False)
    assert await alone.rows("in_a_row") == [{"key": "EWR", "value": 7}]


async def test_a_store_outside_of_the_changelog_counts_for_nothing(airport_broker: Broker, tmp_path: Path) -> None:
    rows = dict_entries("in_a_row", {"EWR": 1})
    end = await log(airport_broker, "in_a_row", 0, rows)
    store(tmp_path / "departures" / "0", "in_a_row", dict_entries("in_a_row", {"OLD": 9}), end + 1)
    assert await offline(airport_broker, tmp_path).rows("in_a_row") == [{"key": "EWR", "value": 1}]


async def test_a_store_without_the_table(airport_broker: Broker, tmp_path: Path) -> None:
    await log(airport_broker, "in_a_row", 0, dict_entries("in_a_row", {"EWR": 1}))
    store(tmp_path / "departures" / "0", "other", [], 5)
    assert await offline(airport_broker, tmp_path).rows("in_a_row") == [{"key": "EWR", "value": 1}]


async def test_a_changelog_that_ends_in_a_marker(tmp_path: Path) -> None:
    """A transaction's end takes an offset without a record, on Kafka: a store may be behind by that alone."""
    broker = MemoryBroker(markers=True)
    await create_topics(broker)
    entries = dict_entries("in_a_row", {"EWR": 1})
    tp = TopicPartition(changelog("airport", "in_a_row"), 0)
    out = Outgoing([k for k, _ in entries], [v for _, v in entries], [0])
    producer = await broker.producer("task")
    assert await producer.commit(Transaction(group="airport", outputs={tp: out})) == {tp: 1}
    assert await broker.end_offsets([tp]) == {tp: 2}
    assert await offline(broker, tmp_path).rows("in_a_row") == [{"key": "EWR", "value": 1}]
    store(tmp_path / "departures" / "0", "in_a_row", entries, 1)
    assert await offline(broker, tmp_path).rows("in_a_row") == [{"key": "EWR", "value": 1}]


async def test_a_table_that_no_worker_has_written(airport_broker: Broker, tmp_path: Path) -> None:
    await airport_broker.delete_topic(changelog("airport", "notes"))
    tables = offline(airport_broker, tmp_path)
    assert await tables.rows("notes") == []
    assert (await tables.frame("notes")).columns == ["key", "value"]
    assert await tables.rows("delays") == []
    with pytest.raises(KeyError):
        await tables.rows("nots")


async def test_windows_frames_and_sql(airport_broker: Broker, tmp_path: Path) -> None:
    await log(airport_broker, "delays", 0, delay_entries({("AA", 1): [1.0, 3.0], ("AA", 2): [5.0]}))
    await log(airport_broker, "delays", 1, delay_entries({("UA", 1): [None]}))
    tables = offline(airport_broker, tmp_path)
    assert await tables.windows("delays") == [7200.0, 3600.0]
    assert [r["carrier"] for r in await tables.rows("delays", window=3600.0)] == ["AA", "UA"]
    result = await run_sql("SELECT carrier, sum(flights) AS n FROM delays GROUP BY 1 ORDER BY 1", tables)
    assert result.rows == [("AA", 3), ("UA", 1)]
    assert [change async for change in tables.changes("delays")] == []
