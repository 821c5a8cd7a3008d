"""Compaction: the last record of each key stays, at its offset; tombstones go late enough."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest

from flows.brokers.base import Outgoing, TopicPartition, TopicSpec
from flows.brokers.embedded import EmbeddedBroker, compact
from flows.clock import ManualClock
from tests.contracts.broker_fixtures import read_all, values

TP = TopicPartition("state", 0)
KEPT = 100.0  # seconds that tombstones are kept


@pytest.fixture
async def compacted(broker: EmbeddedBroker) -> EmbeddedBroker:
    await broker.create_topic(TopicSpec(name="state", cleanup="compact", tombstone_retention=KEPT))
    return broker


async def put(broker: EmbeddedBroker, *rows: tuple[str, str | None], tp: TopicPartition = TP) -> None:
    out = Outgoing()
    for key, value in rows:
        out.append(key.encode(), None if value is None else value.encode(), 0)
    await broker.produce({tp: out})


async def contents(broker: EmbeddedBroker) -> list[tuple[int, bytes | None, bytes | None]]:
    return [
        row
        for records in await read_all(broker, TP)
        for row in zip(records.offsets, records.keys, records.values, strict=True)
    ]


async def test_the_last_record_of_each_key_stays_at_its_offset(compacted: EmbeddedBroker):
    await put(compacted, ("a", "1"), ("b", "1"), ("a", "2"))
    await put(compacted, ("c", "1"), ("b", "2"), ("c", "2"))

    await compacted.maintain()

    assert await contents(compacted) == [(2, b"a", b"2"), (4, b"b", b"2"), (5, b"c", b"2")]
    assert await compacted.start_offsets([TP]) == {TP: 0}
    assert await compacted.end_offsets([TP]) == {TP: 6}


async def test_clean_and_dirty_parts_meet_and_headers_stay(compacted: EmbeddedBroker):
    out = Outgoing()
    out.append(b"a", b"1", 11, (("h", b"a1"),))
    out.append(b"b", b"1", 12, (("h", b"b1"),))
    await compacted.produce({TP: out})
    await compacted.maintain()
    await put(compacted, ("a", "2"), ("d", "1"))

    await compacted.maintain()

    (records,) = await read_all(compacted, TP)
    assert list(records.offsets) == [1, 2, 3]
    assert list(records.timestamps) == [12, 0, 0]
    assert [tuple(map(tuple, h)) for h in records.headers or ()] == [(("h", b"b1"),), (), ()]


async def test_readers_cross_holes_wherever_they_stand(compacted: EmbeddedBroker):
    for n in range(12):
        await put(compacted, ("a" if n % 3 else f"key{n}", str(n)))
    await compacted.maintain()
    kept = [offset for offset, _, _ in await contents(compacted)]

    for position in range(13):
        found = await read_all(compacted, TP, position)
        assert [o for records in found for o in records.offsets] == [o for o in kept if o >= position]
    assert kept == [0, 3, 6, 9, 11]


async def test_a_trailing_hole_does_not_keep_a_reader_from_the_end(compacted: EmbeddedBroker, clock: ManualClock):
    await put(compacted, ("a", "1"), ("b", "1"), ("b", None))
    await compacted.maintain()
    clock.advance(KEPT + 1)
    await compacted.maintain()

    reader = compacted.reader({TP: 0})
    (records,) = await reader.fetch(10, 1)
    assert (values([records]), records.next_offset, reader.position(TP)) == ([b"1"], 3, 3)
    late = compacted.reader({TP: 1})
    async with asyncio.timeout(5):  # it does not wait for records that nobody will send
        assert await late.fetch(10, 60) == []
    assert late.position(TP) == 3


async def test_a_tombstone_stays_its_time_from_the_first_compaction_on(compacted: EmbeddedBroker, clock: ManualClock):
    await put(compacted, ("a", "1"), ("a", None))
    clock.advance(KEPT * 5)  # until now a reader may have seen a=1 only
    await compacted.maintain()
    assert await contents(compacted) == [(1, b"a", None)]

    clock.advance(KEPT - 1)
    await compacted.maintain()
    assert await contents(compacted) == [(1, b"a", None)]
    clock.advance(1)
    await compacted.maintain()
    assert await contents(compacted) == []


async def test_a_tombstone_may_go_while_its_key_lives_again(compacted: EmbeddedBroker, clock: ManualClock):
    await put(compacted, ("a", "1"), ("a", None))
    await compacted.maintain()
    await put(compacted, ("a", "2"))
    clock.advance(KEPT + 1)

    await compacted.maintain()

    assert await contents(compacted) == [(2, b"a", b"2")]


async def test_many_small_batches_become_few(compacted: EmbeddedBroker):
    for n in range(300):
        await put(compacted, (f"k{n}", "v"))

    await compacted.maintain()

    database = sqlite3.connect(compacted.folder / "broker.db")
    assert database.execute("SELECT count(*) FROM batches").fetchone() == (1,)
    database.close()
    assert len(await contents(compacted)) == 300


async def test_a_pass_that_is_cut_short_anywhere_loses_nothing(
    compacted: EmbeddedBroker, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(compact, "BATCH_BYTES", 1)  # every batch is a window of its own
    expected: dict[str, str] = {}
    database = sqlite3.connect(compacted.folder / "broker.db", isolation_level=None)
    for jobs in range(8):
        for n in range(6):
            key, value = f"k{(jobs + n) % 5}", f"{jobs}.{n}"
            await put(compacted, (key, value), (key, value + "!"))
            expected[key] = value + "!"
        (dirty,) = compact.due(database, clock.now(), every=True)
        with pytest.raises(StopPass):
            compact.compact(database, dirty, clock.now(), stop_after(jobs, compacted))

        table = {k: v for _, k, v in await contents(compacted)}
        assert table == {k.encode(): v.encode() for k, v in expected.items()}

    database.close()
    await compacted.maintain()
    rows = await contents(compacted)
    assert len(rows) == 5
    assert {k: v for _, k, v in rows} == {k.encode(): v.encode() for k, v in expected.items()}


class StopPass(Exception):
    """The process died here."""


def stop_after(jobs: int, broker: EmbeddedBroker) -> compact.RunJob:
    left = jobs

    def run(doing: str, work: object) -> None:
        nonlocal left
        if left == 0:
            raise StopPass
        left -= 1
        broker._writer.run_from_thread(doing, work)  # type: ignore[arg-type]

    return run


async def test_more_keys_than_a_pass_remembers_take_several(compacted: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compact, "_MOST_KEYS", 3)
    for n in range(10):
        await put(compacted, (f"k{n % 5}", str(n)))

    for _ in range(5):
        await compacted.maintain()

    assert [offset for offset, _, _ in await contents(compacted)] == [5, 6, 7, 8, 9]


async def test_a_small_dirty_part_is_left_for_later_in_the_background(compacted: EmbeddedBroker, clock: ManualClock):
    await put(compacted, *[(f"k{n}", "v") for n in range(3000)])
    database = sqlite3.connect(compacted.folder / "broker.db", isolation_level=None)
    assert [d.name for d in compact.due(database, clock.now(), every=False)] == ["state/0"]
    await compacted.maintain()
    await put(compacted, *[(f"k{n}", "w") for n in range(2999)])

    assert compact.due(database, clock.now(), every=False) == []
    await put(compacted, ("k0", "x"))
    assert [d.name for d in compact.due(database, clock.now(), every=False)] == ["state/0"]
    database.close()
