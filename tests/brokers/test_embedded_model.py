"""Random histories of a log, against a list."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from flows.brokers.base import Outgoing, Records, TopicPartition, TopicSpec
from flows.brokers.embedded import EmbeddedBroker, compact
from flows.clock import ManualClock
from flows.errors import OffsetOutOfRange
from tests.contracts.broker_fixtures import read_all
from tests.drawn import drawn

KEPT = 50.0
SHARED = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]  # one broker for all examples of a test
rows = st.tuples(st.sampled_from("abc"), st.none() | st.integers(0, 9))
batch = st.lists(rows, min_size=1, max_size=4)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), batch),
        st.tuples(st.just("compact"), st.none()),
        st.tuples(st.just("advance"), st.integers(1, 30)),
        st.tuples(st.just("read"), st.integers(1, 2)),
    ),
    max_size=25,
)


class Bench:
    """One broker for all examples; each has a topic of its own."""

    def __init__(self, folder: Path) -> None:
        self.runner = asyncio.Runner()
        self.clock = ManualClock(1e9)
        self.broker = EmbeddedBroker(folder, self.clock, maintenance=None)
        self.examples = 0
        self.runner.run(self.broker.start())

    def topic(self, **options: Any) -> TopicPartition:
        self.examples += 1
        name = f"example{self.examples}"
        self.runner.run(self.broker.create_topic(TopicSpec(name=name, **options)))
        return TopicPartition(name, 0)

    def close(self) -> None:
        self.runner.run(self.broker.close())
        self.runner.close()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(compact, "BATCH_BYTES", 60)  # a few batches a window
    bench = Bench(tmp_path / "broker")
    yield bench
    bench.close()


def table_of(log: list[tuple[bytes, bytes | None]]) -> dict[bytes, bytes]:
    return {key: value for key, value in dict(log).items() if value is not None}


def flat(found: list[Records]) -> list[tuple[int, bytes | None, bytes | None]]:
    return [row for r in found for row in zip(r.offsets, r.keys, r.values, strict=True)]


@drawn(100, suppress_health_check=SHARED)
@given(steps=steps)
def test_compaction_never_changes_what_a_table_of_the_log_says(bench: Bench, steps: list[tuple[str, Any]]):
    tp = bench.topic(cleanup="compact", tombstone_retention=KEPT)
    bench.runner.run(play_compaction(bench, tp, steps))
    bench.runner.run(bench.broker.delete_topic(tp.topic))


async def play_compaction(bench: Bench, tp: TopicPartition, steps: list[tuple[str, Any]]) -> None:
    broker, log = bench.broker, []
    reader, slow, slow_since = broker.reader({tp: 0}), {}, bench.clock.now()
    for step, argument in steps:
        if step == "append":
            new = [(k.encode(), None if v is None else b"%d" % v) for k, v in argument]
            log += new
            await broker.produce({tp: Outgoing([k for k, _ in new], [v for _, v in new], [0] * len(new))})
        elif step == "compact":
            await broker.maintain()
            found = flat(await read_all(broker, tp))
            keys = [key for _, key, _ in found]
            assert len(set(keys)) == len(keys)
            assert set(table_of(log)) <= set(keys)
        elif step == "advance":
            bench.clock.advance(argument)
        else:
            for records in await reader.fetch(argument, 0):
                slow |= dict(zip(records.keys, records.values, strict=True))
        if reader.position(tp) >= len(log):
            slow_since = bench.clock.now()
        found = flat(await read_all(broker, tp))
        assert all(log[offset] == (key, value) for offset, key, value in found)
        assert table_of([(k, v) for _, k, v in found]) == table_of(log)
        if bench.clock.now() - slow_since >= KEPT:  # a reader that is this late has to start anew
            reader, slow, slow_since = broker.reader({tp: 0}), {}, bench.clock.now()
    while reader.position(tp) < len(log):
        for records in await reader.fetch(3, 1):
            slow |= dict(zip(records.keys, records.values, strict=True))
    assert {k: v for k, v in slow.items() if v is not None} == table_of(log)
    await broker.maintain()
    bench.clock.advance(KEPT)
    await broker.maintain()
    assert {(k, v) for _, k, v in flat(await read_all(broker, tp))} == set(table_of(log).items())


@drawn(100, suppress_health_check=SHARED)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    purges=st.lists(st.integers(0, 80), max_size=3),
    starts=st.lists(st.integers(0, 80), min_size=1, max_size=5),
    limit=st.integers(1, 20),
)
def test_a_log_reads_like_a_list(bench: Bench, sizes: list[int], purges: list[int], starts: list[int], limit: int):
    tp = bench.topic(retention=None)
    bench.runner.run(play_log(bench.broker, tp, sizes, purges, starts, limit))


async def play_log(
    broker: EmbeddedBroker,
    tp: TopicPartition,
    sizes: list[int],
    purges: list[int],
    starts: list[int],
    limit: int,
) -> None:
    low = end = 0
    for size in sizes:
        new = [b"%d" % n for n in range(end, end + size)]
        end += size
        assert await broker.produce({tp: Outgoing([None] * size, new, list(range(size)))}) == {tp: end}
    for purge in purges:
        if purge <= end:
            await broker.purge({tp: purge})
            low = max(low, purge)
    for start in starts:
        reader = broker.reader({tp: start})
        if not low <= start <= end:
            with pytest.raises(OffsetOutOfRange):
                await reader.fetch(limit, 0)
            continue
        found = []
        while reader.position(tp) < end:
            (records,) = await reader.fetch(limit, 1)
            assert 0 < len(records) <= limit
            found.append(records)
        assert flat(found) == [(n, None, b"%d" % n) for n in range(start, end)]
