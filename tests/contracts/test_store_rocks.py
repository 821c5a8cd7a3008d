"""What only a store on disk must do: survive kills and damage, keep others out, and be read beside its writer."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.clock import ManualClock
from flows.errors import StateError, StateLocked
from flows.state.base import StoreWrite
from flows.state.rocks import RocksStore
from flows.state.rocks_open import destroy_store
from tests.contracts.store_fixtures import RESOURCES, filled, line, process


def tell(running: subprocess.Popen[str], word: str) -> None:
    assert running.stdin is not None
    running.stdin.write(word + "\n")
    running.stdin.flush()


def test_a_kill_leaves_rows_and_positions_of_one_moment(tmp_path: Path) -> None:
    """Each write sets 100 keys and the position to one number; the survivor must show a single number."""
    script = """
    store = RocksStore(folder, resources)
    store.create_table("t")
    store.create_table("u")
    number = store.positions().get("t", 0)
    while True:
        number += 1
        rows = dict.fromkeys((b"%03d" % i for i in range(100)), b"%d" % number)
        store.write(StoreWrite(puts={"t": rows, "u": rows}, positions={"t": number, "u": number}))
        if number % 50 == 0:
            print(number, flush=True)
    """
    seen = 0
    for _ in range(3):
        with process(tmp_path / "task", script) as running:
            told = int(line(running))
            while told < seen + 100:
                told = int(line(running))
            running.send_signal(signal.SIGKILL)
        store = RocksStore(tmp_path / "task", RESOURCES)
        position = store.positions()["t"]
        assert position >= told > seen
        assert store.positions() == {"t": position, "u": position}
        for table in ("t", "u"):
            assert {value for _, value in store.scan(table)} == {b"%d" % position}
        store.close()
        seen = position


def test_a_folder_in_use_names_its_holder(tmp_path: Path) -> None:
    script = """
    store = RocksStore(folder, resources)
    print("open", flush=True)
    sys.stdin.read()
    store.close()
    """
    with process(tmp_path / "task", script) as running:
        assert line(running) == "open"
        with pytest.raises(StateLocked, match=f"{tmp_path}/task is in use by process {running.pid} on"):
            RocksStore(tmp_path / "task", RESOURCES)
        with pytest.raises(StateLocked, match=f"process {running.pid}"):
            destroy_store(tmp_path / "task", RESOURCES.options)
    RocksStore(tmp_path / "task", RESOURCES).close()


def test_a_folder_is_opened_once_a_process(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "task", RESOURCES)
    with pytest.raises(StateLocked, match="in use by this process"):
        RocksStore(tmp_path / "task", RESOURCES)
    store.close()
    RocksStore(tmp_path / "task", RESOURCES).close()


def test_reading_beside_a_writer(tmp_path: Path) -> None:
    script = """
    store = RocksStore(folder, resources)
    store.create_table("t/1")
    for number in range(1, 100):
        rows = {b"%d" % i: b"%d" % number for i in range(1000)}
        store.write(StoreWrite(puts={"t/1": rows}, positions={"t/1": number}))
        print(number, flush=True)
        sys.stdin.readline()
    """
    with process(tmp_path / "task", script) as running:
        for expected in (1, 3, 5):
            assert line(running) == str(expected)
            reader = RocksStore(tmp_path / "task", RESOURCES, read_only=True)
            tell(running, "go on")
            assert line(running) == str(expected + 1)
            assert reader.tables() == {"t/1"}
            assert reader.positions() == {"t/1": expected}
            assert {value for _, value in reader.scan("t/1")} == {b"%d" % expected}
            assert reader.get_many("t/1", [b"7", b"x"]) == [b"%d" % expected, None]
            with pytest.raises(StateError, match="open read-only"):
                reader.write(StoreWrite(positions={"t/1": 0}))
            reader.close()
            tell(running, "go on")
        running.kill()


def test_reading_where_nothing_is(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no state in"):
        RocksStore(tmp_path / "nothing", RESOURCES, read_only=True)
    assert not (tmp_path / "nothing").exists()


def test_closing_frees_the_folder_whatever_is_still_read(tmp_path: Path) -> None:
    filled(tmp_path / "task")
    store = RocksStore(tmp_path / "task", RESOURCES)
    scan, snapshot = store.scan("t"), store.snapshot()
    begun = snapshot.scan("t")
    next(scan), next(begun)
    store.close()
    store.close()
    again = RocksStore(tmp_path / "task", RESOURCES)
    with pytest.raises(StateError, match="closed"):
        snapshot.scan("t")
    for iterator in (scan, begun):
        with pytest.raises(StateError, match="closed"):
            list(iterator)
    uses: list[Callable[[], object]] = [
        lambda: store.get_many("t", [b"k"]),
        store.snapshot,
        store.flush,
        lambda: store.metadata("t"),
    ]
    for use in uses:
        with pytest.raises(StateError, match="is closed"):
            use()
    assert again.positions() == {"t": 20_000}
    again.close()


def test_closing_waits_for_a_read_in_another_thread(tmp_path: Path) -> None:
    filled(tmp_path / "task")
    for _ in range(5):
        store = RocksStore(tmp_path / "task", RESOURCES)
        snapshot, started, ends = store.snapshot(), threading.Event(), list[str]()

        def read(snapshot=snapshot, started=started, ends=ends) -> None:  # type: ignore[no-untyped-def]
            try:
                while True:
                    list(snapshot.scan("t"))
                    started.set()
            except StateError as error:
                ends.append(str(error))

        thread = threading.Thread(target=read)
        thread.start()
        assert started.wait(10)
        store.close()
        thread.join(10)
        assert len(ends) == 1
        assert "closed" in ends[0]


def test_dropping_a_table_that_a_snapshot_holds(tmp_path: Path) -> None:
    filled(tmp_path / "task", rows=100)
    store = RocksStore(tmp_path / "task", RESOURCES)
    snapshot = store.snapshot()
    store.drop_table("t")
    store.create_table("t")
    assert sum(1 for _ in snapshot.scan("t")) == 100
    assert list(store.scan("t")) == []
    assert store.get_many("t", [bytes(4)]) == [None]
    store.close()


def test_the_time_of_the_last_write_is_kept(tmp_path: Path) -> None:
    clock = ManualClock(now=50.0)
    store = RocksStore(tmp_path / "task", RESOURCES, clock=clock)
    store.create_table("t")
    assert store.last_write() is None
    store.write(StoreWrite(puts={"t": {b"k": b"v"}}))
    clock.advance(5)
    store.write(StoreWrite(positions={"t": 1}))
    clock.advance(5)
    store.close()
    again = RocksStore(tmp_path / "task", RESOURCES)
    assert again.last_write() == 55.0
    again.close()


def test_stores_share_one_budget_of_memory(tmp_path: Path) -> None:
    """Sixteen stores with 1.5 MB each, less than any of them would write out by itself, keep to 8 MB together."""
    buffers = RESOURCES.write_buffers
    stores = [RocksStore(tmp_path / str(i), RESOURCES) for i in range(16)]
    rows: dict[bytes, bytes | None] = {i.to_bytes(2, "big"): os.urandom(1000) for i in range(1500)}
    for store in stores:
        store.create_table("t")
        store.write(StoreWrite(puts={"t": rows}))
    assert buffers.get_usage() > 0
    deadline = time.monotonic() + 20
    while buffers.get_usage() > buffers.get_buffer_size():
        assert time.monotonic() < deadline, f"{buffers.get_usage()} bytes of {buffers.get_buffer_size()}"
        for store in stores:  # a store makes room when it writes
            store.write(StoreWrite(positions={"t": 1}))
    for store in stores:
        store.close()
