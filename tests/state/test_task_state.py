"""The write cache: when a flush is due, and what holds while one runs, fails or is cancelled."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from flows.errors import StateError
from flows.state.base import StoreWrite
from flows.state.memory import MemoryStore
from flows.state.rocks import RocksStore
from flows.state.task_state import TaskState
from tests.contracts.store_fixtures import RESOURCES


class SlowStore(MemoryStore):
    """A store whose writes wait until they are let go, and fail as often as told."""

    def __init__(self) -> None:
        super().__init__()
        self.create_table("t")
        self.let_go = threading.Event()
        self.entered = threading.Event()
        self.failures = 0
        self.threads: list[int] = []
        self.written: list[StoreWrite] = []

    def write(self, change: StoreWrite) -> None:
        self.threads.append(threading.get_ident())
        self.entered.set()
        assert self.let_go.wait(20)
        if self.failures:
            self.failures -= 1
            raise StateError("no room to write")
        self.written.append(change)
        super().write(change)


def commit(state: TaskState, rows: dict[bytes, bytes | None], position: int = 1) -> None:
    state.stage("t", list(rows), list(rows.values()))
    state.promote({"t": position})


async def entered(store: SlowStore) -> None:
    await asyncio.to_thread(store.entered.wait, 20)
    store.entered.clear()


@pytest.fixture
def store() -> SlowStore:
    return SlowStore()


def test_staged_rows_are_seen_only_when_asked_for() -> None:
    state = TaskState(SlowStore())
    commit(state, {b"a": b"1", b"b": b"2"})
    state.stage("t", [b"a", b"c", b"b"], [b"9", b"3", None])
    assert state.get_many("t", [b"a", b"b", b"c"]) == [b"1", b"2", None]
    assert state.get_many("t", [b"a", b"b", b"c"], uncommitted=True) == [b"9", None, b"3"]
    assert dict(state.scan("t")) == {b"a": b"1", b"b": b"2"}
    assert dict(state.scan("t", uncommitted=True)) == {b"a": b"9", b"c": b"3"}
    assert state.staged("t") == {b"a": b"9", b"c": b"3", b"b": None}
    assert state.staged_tables() == ["t"]
    state.discard()
    assert state.staged("t") == {}
    assert dict(state.scan("t", uncommitted=True)) == {b"a": b"1", b"b": b"2"}


def test_a_range_delete_leaves_tombstones_for_the_changelog() -> None:
    state = TaskState(SlowStore())
    commit(state, {b"a": b"1", b"b": b"2", b"c": b"3"})
    state.stage("t", [b"aa", b"b"], [b"never committed", b"changed"])
    assert state.stage_range_delete("t", b"a", b"c") == [b"a", b"b"]
    state.stage("t", [b"b"], [b"new"])
    assert state.staged("t") == {b"a": None, b"b": b"new"}
    state.promote({"t": 4})
    assert list(state.scan("t")) == [(b"b", b"new"), (b"c", b"3")]


async def test_a_flush_is_one_write_in_a_thread(store: SlowStore) -> None:
    state = TaskState(store)
    commit(state, {b"a": b"1", b"b": b"2"}, position=2)
    commit(state, {b"a": None}, position=3)
    state.stage_range_delete("t", b"x", b"y")
    state.promote({"t": 4})
    store.let_go.set()
    await state.flush()
    (write,) = store.written
    assert write.puts == {"t": {b"a": None, b"b": b"2"}}
    assert write.ranges == {"t": [(b"x", b"y")]}
    assert write.positions == {"t": 4}
    assert store.threads != [threading.get_ident()]
    await state.flush()
    assert len(store.written) == 1, "nothing new, nothing to write"


async def test_work_goes_on_while_a_flush_runs(store: SlowStore) -> None:
    state = TaskState(store)
    commit(state, {b"a": b"1", b"b": b"1"})
    flush = asyncio.create_task(state.flush())
    await entered(store)
    commit(state, {b"a": b"2", b"c": b"2"}, position=2)
    assert state.get_many("t", [b"a", b"b", b"c"]) == [b"2", b"1", b"2"]
    assert [value for _, value in state.scan("t")] == [b"2", b"1", b"2"]
    assert state.positions() == {"t": 2}
    assert dict(store.positions()) == {}
    store.let_go.set()
    await flush
    assert dict(store.scan("t")) == {b"a": b"1", b"b": b"1"}
    assert dict(store.positions()) == {"t": 1}
    assert state.get_many("t", [b"a", b"b", b"c"]) == [b"2", b"1", b"2"]


async def test_a_failed_flush_loses_nothing_and_is_tried_again_first(store: SlowStore) -> None:
    state = TaskState(store)
    store.let_go.set()
    store.failures = 2
    commit(state, {b"a": b"1", b"b": b"1"})
    with pytest.raises(StateError, match="no room"):
        await state.flush()
    commit(state, {b"a": b"2"}, position=2)
    assert state.needs_flush(0.0), "at once, whatever its age"
    with pytest.raises(StateError, match="no room"):
        await state.flush()
    assert state.get_many("t", [b"a", b"b"]) == [b"2", b"1"]
    await state.flush()
    assert [write.positions for write in store.written] == [{"t": 1}, {"t": 2}]
    assert dict(store.scan("t")) == {b"a": b"2", b"b": b"1"}
    assert not state.needs_flush(1e9)


async def test_a_cancelled_flush_is_not_overtaken(store: SlowStore) -> None:
    """Its thread cannot be stopped; a second flush must wait for it, or older rows would land on newer ones."""
    state = TaskState(store)
    commit(state, {b"a": b"old"})
    first = asyncio.create_task(state.flush())
    await entered(store)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    commit(state, {b"a": b"new"}, position=2)
    second = asyncio.create_task(state.flush())
    await asyncio.sleep(0)
    assert len(store.threads) == 1
    store.let_go.set()
    await second
    assert [write.positions for write in store.written] == [{"t": 1}, {"t": 2}]
    assert dict(store.scan("t")) == {b"a": b"new"}


async def test_flushes_at_the_same_time_write_each_row_once(store: SlowStore) -> None:
    state = TaskState(store)
    store.let_go.set()
    commit(state, {b"a": b"1"})
    await asyncio.gather(*(state.flush() for _ in range(5)))
    assert [write.puts for write in store.written] == [{"t": {b"a": b"1"}}]


def test_a_flush_is_due_by_number_of_rows(store: SlowStore) -> None:
    state = TaskState(store, max_entries=10, max_age=1e9)
    commit(state, {bytes([i]): b"v" for i in range(9)})
    assert not state.needs_flush(0.0)
    commit(state, {b"\x00": b"again"})
    assert not state.needs_flush(0.0), "a row replaced is still one row"
    commit(state, {b"\x10": b"v"})
    assert state.needs_flush(0.0)


def test_a_flush_is_due_by_size(store: SlowStore) -> None:
    state = TaskState(store, max_bytes=1000, max_age=1e9)
    commit(state, {b"k" * 100: b"v" * 899, b"": None})
    assert not state.needs_flush(0.0)
    commit(state, {b"k": b""})
    assert state.needs_flush(0.0)


async def test_a_flush_is_due_by_age(store: SlowStore) -> None:
    state = TaskState(store, max_age=2.0)
    store.let_go.set()
    assert not state.needs_flush(100.0)
    state.stage("t", [b"a"], [b"1"])
    assert not state.needs_flush(200.0), "staged rows are nobody's yet"
    state.promote({"t": 1})
    assert not state.needs_flush(200.0)
    commit(state, {b"b": b"2"}, position=2)
    assert not state.needs_flush(201.9)
    assert state.needs_flush(202.0)
    await state.flush()
    assert not state.needs_flush(300.0)
    commit(state, {b"c": b"3"}, position=3)
    assert not state.needs_flush(300.0), "its age counts from its own commit"
    assert state.needs_flush(302.0)


async def test_the_cache_is_full_at_four_times_its_size(store: SlowStore) -> None:
    state = TaskState(store, max_entries=10)
    commit(state, {bytes([i]): b"v" for i in range(20)})
    flush = asyncio.create_task(state.flush())
    await entered(store)
    commit(state, {bytes([i]): b"v" for i in range(19)}, position=2)
    assert not state.full()
    commit(state, {b"more": b"v"}, position=3)
    assert state.full(), "rows that are being written count too"
    store.let_go.set()
    await flush
    assert not state.full()


async def test_a_snapshot_stays_while_commits_and_flushes_go_on(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "task", RESOURCES)
    store.create_table("t")
    state = TaskState(store)
    commit(state, {i.to_bytes(2, "big"): b"old" for i in range(3000)})
    await state.flush()
    commit(state, {i.to_bytes(2, "big"): b"new" for i in range(0, 3000, 2)}, position=2)
    snapshot = state.snapshot()
    expected = [(i.to_bytes(2, "big"), b"old" if i % 2 else b"new") for i in range(3000)]
    loop = asyncio.get_running_loop()
    reading = loop.run_in_executor(None, lambda: [list(snapshot.scan("t")) for _ in range(5)])
    for number in range(5):
        commit(state, {i.to_bytes(2, "big"): b"later" for i in range(number, 3000, 5)}, position=3 + number)
        state.stage_range_delete("t", bytes([number]), bytes([number + 1]))
        state.promote({})
        await state.flush()
    assert await reading == [expected] * 5
    assert snapshot.get_many("t", [b"\x00\x01", b"\x00\x02", b"x"]) == [b"old", b"new", None]
    await state.close()


async def test_closing_flushes_unless_told_not_to(store: SlowStore) -> None:
    store.let_go.set()
    state = TaskState(store)
    commit(state, {b"a": b"1"})
    await state.close(flush=False)
    assert store.written == []
    again = TaskState(store)
    commit(again, {b"a": b"1"})
    await again.close()
    assert dict(store.scan("t")) == {b"a": b"1"}


async def test_closing_frees_the_folder_even_when_the_last_flush_fails(tmp_path: Path) -> None:
    state = TaskState(RocksStore(tmp_path / "task", RESOURCES))
    state.stage("a table that does not exist", [b"a"], [b"1"])
    state.promote({})
    with pytest.raises(StateError, match="no table 'a table that does not exist'"):
        await state.close()
    RocksStore(tmp_path / "task", RESOURCES).close()
