"""Restore: replays until position >= end, rebuilds what cannot be continued, and never hangs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from flows.brokers.base import Broker, Outgoing, Records, TopicPartition, TopicSpec
from flows.brokers.registry import open_broker
from flows.clock import ManualClock
from flows.errors import BrokerUnavailable, OffsetOutOfRange, StateError
from flows.state.base import StoreWrite
from flows.state.keys import RESERVED_PREFIX
from flows.state.memory import MemoryStore
from flows.state.restore import restore
from flows.state.task_state import TaskState

T = TopicPartition("app-t-changelog", 0)
U = TopicPartition("app-u-changelog", 0)
LOGS = {"t": T, "u": U}
Rows = list[tuple[bytes | None, bytes | None]]


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    made = open_broker(f"embedded://{tmp_path}/broker")
    await made.start()
    for tp in (T, U):
        await made.create_topic(TopicSpec(name=tp.topic, cleanup="compact", internal=True))
    yield made
    await made.close()


async def log(broker: Broker, tp: TopicPartition, rows: Rows) -> int:
    out = Outgoing([key for key, _ in rows], [value for _, value in rows], [0] * len(rows))
    return (await broker.produce({tp: out}))[tp]


class Script:
    """A broker of one changelog that plays back fetches: rows with offsets, or an error to raise."""

    def __init__(self, clock: ManualClock, ends: list[int], fetches: Iterable[Any], start: int = 0) -> None:
        self.clock, self.ends, self.fetches, self.start = clock, ends, iter(fetches), start
        self.opened: list[int] = []

    async def topic_ids(self, names: Iterable[str]) -> dict[str, str]:
        return dict.fromkeys(names, "1")

    async def start_offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(tps, self.start)

    async def end_offsets(self, tps: Iterable[TopicPartition], **_: object) -> dict[TopicPartition, int]:
        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        return dict.fromkeys(tps, end)

    def reader(self, positions: Mapping[TopicPartition, int]) -> Script:
        self.at = positions[T]
        self.opened.append(self.at)
        return self

    async def fetch(self, max_records: int, timeout: float) -> list[Records]:
        self.clock.advance(timeout)
        step = next(self.fetches, None)
        if isinstance(step, OffsetOutOfRange):
            self.start = step.start
            raise step
        if isinstance(step, int):
            self.at = step
        if not isinstance(step, dict):
            return []
        self.at = max(step) + 1
        return [
            Records(
                tp=T,
                offsets=list(step),
                timestamps=[0] * len(step),
                keys=[key for key, _ in step.values()],
                values=[value for _, value in step.values()],
                headers=None,
                next_offset=self.at,
            )
        ]

    def position(self, tp: TopicPartition) -> int:
        return self.at

    def pause(self, tps: Iterable[TopicPartition]) -> None: ...

    async def close(self) -> None: ...


def scripted(clock: ManualClock, ends: list[int], fetches: Iterable[Any], start: int = 0) -> tuple[Script, Broker]:
    script = Script(clock, ends, fetches, start)
    return script, cast(Broker, script)


def gone(start: int, end: int) -> OffsetOutOfRange:
    return OffsetOutOfRange("gone", wanted=0, start=start, end=end)


async def test_an_empty_store_takes_all_tables(broker: Broker) -> None:
    await log(broker, T, [(b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"b", None), (b"c", b"")])
    await log(broker, U, [(b"x", b"y")])
    store = MemoryStore()
    assert await restore(store, broker, LOGS) == {}
    assert list(store.scan("t")) == [(b"a", b"3"), (b"c", b"")]
    assert list(store.scan("u")) == [(b"x", b"y")]
    assert store.positions() == {"t": 5, "u": 1}


async def test_it_goes_on_from_the_stored_position(broker: Broker) -> None:
    end = await log(broker, T, [(b"a", b"1"), (b"b", b"2")])
    store = MemoryStore()
    store.create_table("t")
    store.write(StoreWrite(puts={"t": {b"a": b"a row that only the store has"}}, positions={"t": end}))
    assert await log(broker, T, [(b"b", None), (b"c", b"3")]) == 4
    await restore(store, broker, {"t": T})
    assert list(store.scan("t")) == [(b"a", b"a row that only the store has"), (b"c", b"3")]
    assert store.positions() == {"t": 4}


async def test_many_records_in_several_writes(broker: Broker) -> None:
    rows: Rows = [(i.to_bytes(3, "big"), b"%d" % i) for i in range(130_000)]
    for at in range(0, len(rows), 26_000):
        await log(broker, T, rows[at : at + 26_000])
    store, seen = MemoryStore(), list[tuple[str, int, int, float]]()
    await restore(store, broker, LOGS, lambda *call: seen.append(call))
    assert list(store.scan("t")) == rows
    done = [call[1] for call in seen if call[0] == "t"]
    assert done == sorted(done)
    assert len(done) > 3
    assert {call[2] for call in seen if call[0] == "t"} == {130_000}
    assert done[-1] == 130_000
    assert seen[-1][3] > 0


async def test_holes_count_as_done() -> None:
    clock = ManualClock()
    script, broker = scripted(clock, [100], [{3: (b"a", b"1"), 50: (b"b", b"2")}, None, 80, 100])
    store, seen = MemoryStore(), list[tuple[str, int, int, float]]()
    await restore(store, broker, {"t": T}, lambda *call: seen.append(call), clock=clock)
    assert list(store.scan("t")) == [(b"a", b"1"), (b"b", b"2")]
    assert store.positions() == {"t": 100}
    assert script.opened == [0]
    assert [call[1:3] for call in seen] == [(0, 100), (51, 100), (80, 100), (100, 100), (100, 100)]


@pytest.mark.parametrize("position", [4, 100])
async def test_a_position_outside_of_the_changelog_rebuilds_the_table(position: int) -> None:
    clock = ManualClock()
    script, broker = scripted(clock, [20], [{5: (b"a", b"1"), 19: (b"b", b"2")}], start=5)
    store = MemoryStore()
    store.create_table("t")
    store.write(StoreWrite(puts={"t": {b"stale": b"row"}}, positions={"t": position}))
    store.set_metadata([("t", b"stale")])
    assert await restore(store, broker, {"t": T}, clock=clock) == {}
    assert script.opened == [5]
    assert list(store.scan("t")) == [(b"a", b"1"), (b"b", b"2")]
    assert store.positions() == {"t": 20}


async def test_a_changelog_of_another_id_rebuilds_the_table() -> None:
    clock = ManualClock()
    script, broker = scripted(clock, [20], [{0: (b"a", b"1"), 19: (b"b", b"2")}])
    store = MemoryStore()
    store.create_table("t")
    store.write(StoreWrite(puts={"t": {b"stale": b"row"}}, positions={"t": 20}))
    store.set_metadata([("t", b"stale")])
    store.set_changelog_ids([("t", "0")])
    assert await restore(store, broker, {"t": T}, clock=clock) == {}
    assert script.opened == [0]
    assert list(store.scan("t")) == [(b"a", b"1"), (b"b", b"2")]
    assert (store.positions(), store.changelog_id("t")) == ({"t": 20}, "1")


async def test_a_store_that_knew_no_id_goes_on() -> None:
    clock = ManualClock()
    script, broker = scripted(clock, [20], [])
    store = MemoryStore()
    store.create_table("t")
    store.write(StoreWrite(puts={"t": {b"a": b"row"}}, positions={"t": 20}))
    await restore(store, broker, {"t": T}, clock=clock)
    assert script.opened == []
    assert list(store.scan("t")) == [(b"a", b"row")]
    assert store.changelog_id("t") == "1"


async def test_rows_without_a_position_are_not_trusted() -> None:
    clock = ManualClock()
    _, broker = scripted(clock, [1], [{0: (b"a", b"1")}])
    store = MemoryStore()
    store.create_table("t")
    store.write(StoreWrite(puts={"t": {b"stale": b"row"}}))
    await restore(store, broker, {"t": T}, clock=clock)
    assert list(store.scan("t")) == [(b"a", b"1")]


async def test_records_dropped_on_the_way_rebuild_the_table() -> None:
    clock = ManualClock()
    script, broker = scripted(
        clock, [10, 30], [{0: (b"old", b"1")}, gone(20, 30), {20: (b"a", b"1"), 29: (b"b", b"2")}]
    )
    store = MemoryStore()
    await restore(store, broker, {"t": T}, clock=clock)
    assert script.opened == [0, 20]
    assert list(store.scan("t")) == [(b"a", b"1"), (b"b", b"2")]
    assert store.positions() == {"t": 30}


async def test_a_changelog_that_keeps_vanishing_is_an_error() -> None:
    clock = ManualClock()
    script, broker = scripted(clock, [10], [gone(1, 10), gone(2, 10), gone(3, 10), gone(4, 10)])
    with pytest.raises(OffsetOutOfRange):
        await restore(MemoryStore(), broker, {"t": T}, clock=clock)
    assert script.opened == [0, 1, 2, 3]


async def test_a_stall_is_an_error_that_names_the_place() -> None:
    clock = ManualClock()
    _, broker = scripted(clock, [10], [{0: (b"a", b"1"), 4: (b"b", b"2")}])
    store = MemoryStore()
    with pytest.raises(BrokerUnavailable, match=r"table 't' stopped at offset 5 of 10 in app-t-changelog/0.*12 s"):
        await restore(store, broker, {"t": T}, stall_after=12.0, clock=clock)
    assert 12.0 <= clock.monotonic() < 13.0


async def test_a_store_away_for_longer_than_tombstones_live_is_rebuilt() -> None:
    clock = ManualClock(now=1000.0)
    for away, rows in [(99.0, [(b"deleted", b"long ago"), (b"k", b"v")]), (101.0, [(b"k", b"v")])]:
        store = MemoryStore(ManualClock(now=1000.0 - away))
        store.create_table("t")
        store.write(StoreWrite(puts={"t": {b"deleted": b"long ago"}}, positions={"t": 5}))
        _, broker = scripted(clock, [10], [{9: (b"k", b"v")}])
        await restore(store, broker, {"t": T}, tombstone_retention=100.0, clock=clock)
        assert list(store.scan("t")) == rows


async def test_a_long_absence_without_news_keeps_the_rows() -> None:
    clock = ManualClock(now=1000.0)
    store = MemoryStore(ManualClock())
    store.create_table("t")
    store.write(StoreWrite(puts={"t": {b"k": b"v"}}, positions={"t": 10}))
    script, broker = scripted(clock, [10], [])
    await restore(store, broker, {"t": T}, tombstone_retention=100.0, clock=clock)
    assert list(store.scan("t")) == [(b"k", b"v")]
    assert script.opened == []


async def test_metadata_is_handed_back_and_kept(broker: Broker) -> None:
    key = RESERVED_PREFIX + b"fingerprint"
    await log(broker, T, [(key, b"one"), (b"a", b"1"), (key, b"two")])
    store = MemoryStore()
    assert await restore(store, broker, LOGS) == {"t": b"two"}
    assert list(store.scan("t")) == [(b"a", b"1")]
    await log(broker, T, [(b"b", b"2")])
    assert await restore(store, broker, LOGS) == {"t": b"two"}, "the record itself was not read again"


async def test_a_record_without_a_key_is_foreign(broker: Broker) -> None:
    await broker.create_topic(TopicSpec(name="plain"))
    foreign = TopicPartition("plain", 0)
    await log(broker, foreign, [(b"a", b"1"), (None, b"2")])
    with pytest.raises(StateError, match="plain/0 of table 't' has a record without a key at offset 1"):
        await restore(MemoryStore(), broker, {"t": foreign})


async def test_a_failed_write_ends_the_restore(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    await log(broker, T, [(b"a", b"1")])
    store = MemoryStore()

    def refuse(change: StoreWrite) -> None:
        raise StateError("no room")

    monkeypatch.setattr(store, "write", refuse)
    with pytest.raises(StateError, match="no room"):
        await restore(store, broker, {"t": T})


async def test_the_tail_goes_into_memory_over_a_store_of_another(broker: Broker) -> None:
    """What an offline query does: the store lags, and it is not ours to write."""
    end = await log(broker, T, [(b"a", b"1"), (b"b", b"2")])
    store = MemoryStore()
    store.create_table("t")
    store.write(StoreWrite(puts={"t": {b"a": b"1", b"b": b"2"}}, positions={"t": end}))
    await log(broker, T, [(b"b", None), (b"c", b"3")])
    state = TaskState(store)
    await restore(state, broker, {"t": T})
    assert list(state.scan("t")) == [(b"a", b"1"), (b"c", b"3")]
    assert list(store.scan("t")) == [(b"a", b"1"), (b"b", b"2")]
    store.write(StoreWrite(positions={"t": 99}))
    rebuilt = TaskState(store)
    await restore(rebuilt, broker, {"t": T})
    assert list(rebuilt.scan("t")) == [(b"a", b"1"), (b"c", b"3")]
    with pytest.raises(StateError, match="no table 'u'"):
        await restore(state, broker, {"u": U})
