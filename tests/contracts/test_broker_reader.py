"""Readers: positions, limits, pauses, ranges, and waking up when something comes."""

from __future__ import annotations

import asyncio

import pytest

from flows.brokers.base import Broker, Outgoing, TopicPartition
from flows.errors import OffsetOutOfRange
from tests.contracts.broker_fixtures import Handles, Topics, outgoing, values

LONG = 20.0  # seconds; a test that waits this long has failed


async def test_a_reader_starts_anywhere_in_a_batch_and_moves_by_what_it_returned(broker: Broker, broker_topic: Topics):
    tp = TopicPartition(await broker_topic(), 0)
    await broker.produce({tp: outgoing(*range(10))})
    reader = broker.reader({tp: 4})

    (records,) = await reader.fetch(100, LONG)

    assert list(records.offsets) == [4, 5, 6, 7, 8, 9]
    assert values([records]) == [b"4", b"5", b"6", b"7", b"8", b"9"]
    assert list(records.timestamps) == [1004, 1005, 1006, 1007, 1008, 1009]
    assert reader.position(tp) == records.next_offset == 10
    assert await reader.fetch(100, 0) == []


async def test_max_records_limits_a_fetch_without_losing_any(broker: Broker, broker_topic: Topics):
    tp = TopicPartition(await broker_topic(), 0)
    await broker.produce({tp: outgoing(*range(6))})
    await broker.produce({tp: outgoing(*range(6, 10))})
    reader = broker.reader({tp: 1})
    found, positions = [], []

    while reader.position(tp) < 10:
        (records,) = await reader.fetch(4, LONG)
        assert 1 <= len(records) <= 4
        assert records.offsets[0] == (positions[-1] if positions else 1)
        found.append(records)
        positions.append(reader.position(tp))

    assert values(found) == [b"%d" % n for n in range(1, 10)]


async def test_headers_follow_their_records_through_any_cut(broker: Broker, broker_topic: Topics):
    tp = TopicPartition(await broker_topic(), 0)
    out = Outgoing()
    for n in range(6):
        out.append(b"k", b"%d" % n, n, (("n", b"%d" % n),) if n % 2 else ())
    await broker.produce({tp: outgoing(100)})
    await broker.produce({tp: out})
    reader = broker.reader({tp: 0})
    found: dict[bytes | None, tuple[object, ...]] = {}

    while reader.position(tp) < 7:
        for records in await reader.fetch(2, LONG):
            headers = records.headers or [()] * len(records)
            found |= {v: tuple(map(tuple, h)) for v, h in zip(records.values, headers, strict=True)}

    assert found[b"100"] == found[b"0"] == found[b"4"] == ()
    assert [found[b"%d" % n] for n in (1, 3, 5)] == [(("n", b"1"),), (("n", b"3"),), (("n", b"5"),)]


async def test_each_partition_is_read_by_itself(broker: Broker, broker_topic: Topics):
    topic = await broker_topic(partitions=3)
    tps = [TopicPartition(topic, n) for n in range(3)]
    await broker.produce({tp: outgoing(*range(n * 10, n * 10 + 3)) for n, tp in enumerate(tps)})
    reader = broker.reader({tps[0]: 0, tps[2]: 2})
    got: dict[TopicPartition, list[bytes | None]] = {}

    while reader.position(tps[0]) < 3 or reader.position(tps[2]) < 3:
        for records in await reader.fetch(100, LONG):
            got.setdefault(records.tp, []).extend(records.values)

    assert got == {tps[0]: [b"0", b"1", b"2"], tps[2]: [b"22"]}


async def test_a_paused_partition_is_left_out_until_resumed(broker: Broker, broker_topic: Topics):
    topic = await broker_topic(partitions=2)
    a, b = TopicPartition(topic, 0), TopicPartition(topic, 1)
    await broker.produce({a: outgoing(1), b: outgoing(2)})
    reader = broker.reader({a: 0, b: 0})

    reader.pause([a])
    (records,) = await reader.fetch(100, LONG)
    assert records.tp == b
    assert await reader.fetch(100, 0) == []
    assert reader.position(a) == 0

    waiting = asyncio.ensure_future(reader.fetch(100, LONG))
    await asyncio.sleep(0)
    reader.resume([a])
    (records,) = await asyncio.wait_for(waiting, LONG / 2)
    assert values([records]) == [b"1"]


async def test_a_pause_keeps_what_a_fetch_had_left_over(broker: Broker, broker_topic: Topics):
    tp = TopicPartition(await broker_topic(), 0)
    await broker.produce({tp: outgoing(*range(4))})
    reader = broker.reader({tp: 0})
    await reader.fetch(1, LONG)

    reader.pause([tp])
    assert await reader.fetch(10, 0) == []
    reader.resume([tp])
    (records,) = await reader.fetch(10, LONG)

    assert values([records]) == [b"1", b"2", b"3"]


@pytest.mark.parametrize("position", [-1, 3, 1000])
async def test_a_position_outside_the_partition_is_an_error_with_the_range(
    broker: Broker, broker_topic: Topics, position: int
):
    tp = TopicPartition(await broker_topic(), 0)
    await broker.produce({tp: outgoing(1, 2)})

    with pytest.raises(OffsetOutOfRange, match=str(tp)) as raised:
        await broker.reader({tp: position}).fetch(10, LONG)

    assert (raised.value.wanted, raised.value.start, raised.value.end) == (position, 0, 2)


async def test_a_waiting_fetch_wakes_when_this_process_commits(broker: Broker, broker_topic: Topics):
    tp = TopicPartition(await broker_topic(), 0)
    reader = broker.reader({tp: 0})

    for n in range(20):
        waiting = asyncio.ensure_future(reader.fetch(10, LONG))
        await asyncio.sleep(0)
        await broker.produce({tp: outgoing(n)})
        (records,) = await asyncio.wait_for(waiting, LONG / 2)
        assert values([records]) == [b"%d" % n]


async def test_a_waiting_fetch_wakes_when_another_commits(broker_handles: Handles):
    mine, theirs = await broker_handles.open(), await broker_handles.open()
    tp = TopicPartition(await Topics(mine)(), 0)
    reader = mine.reader({tp: 0})

    for n in range(20):
        waiting = asyncio.ensure_future(reader.fetch(10, LONG))
        await theirs.produce({tp: outgoing(n)})
        (records,) = await asyncio.wait_for(waiting, LONG / 2)
        assert values([records]) == [b"%d" % n]


async def test_a_fetch_that_finds_nothing_returns_in_its_time(broker: Broker, broker_topic: Topics):
    tp = TopicPartition(await broker_topic(), 0)
    loop = asyncio.get_running_loop()
    started = loop.time()

    assert await broker.reader({tp: 0}).fetch(10, 0.05) == []

    assert 0.04 <= loop.time() - started < LONG / 2


async def test_a_cancelled_fetch_has_read_nothing(broker: Broker, broker_topic: Topics):
    tp = TopicPartition(await broker_topic(), 0)
    reader = broker.reader({tp: 0})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.fetch(10, LONG), 0.01)
    await broker.produce({tp: outgoing(*range(5))})
    for steps in range(6):  # cancelled at different moments of the read
        fetch = asyncio.ensure_future(reader.fetch(10, LONG))
        for _ in range(steps):
            await asyncio.sleep(0)
        if not fetch.cancel():
            break  # the read was quicker
        with pytest.raises(asyncio.CancelledError):
            await fetch
        assert reader.position(tp) == 0

    found = await (reader.fetch(10, LONG) if fetch.cancelled() else fetch)

    assert values(found) == [b"0", b"1", b"2", b"3", b"4"]


async def test_closing_a_reader_ends_its_waiting_fetch(broker: Broker, broker_topic: Topics):
    tp = TopicPartition(await broker_topic(), 0)
    reader = broker.reader({tp: 0})
    waiting = asyncio.ensure_future(reader.fetch(10, LONG))
    await asyncio.sleep(0)

    await reader.close()

    assert await asyncio.wait_for(waiting, LONG / 2) == []


async def test_two_readers_share_nothing(broker: Broker, broker_topic: Topics):
    tp = TopicPartition(await broker_topic(), 0)
    await broker.produce({tp: outgoing(1, 2)})
    one, two = broker.reader({tp: 0}), broker.reader({tp: 1})

    found = await asyncio.gather(one.fetch(10, LONG), two.fetch(10, LONG))

    assert [values(each) for each in found] == [[b"1", b"2"], [b"2"]]
