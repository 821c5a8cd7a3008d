"""What only a store on disk must do: survive kills and damage, keep others out, and be read beside its writer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.clock import ManualClock
from flows.errors import StateCorrupt, StateError, StateLocked
from flows.state.base import StoreWrite
from flows.state.rocks import RocksStore
from flows.state.rocks_open import destroy_store
from tests.contracts.store_fixtures import RESOURCES

ROOT = Path(__file__).parents[2]
PROLOGUE = """
import os, signal, sys, resource
from pathlib import Path
from flows.errors import *
from flows.state.base import StoreWrite
from flows.state.rocks import RocksStore
from flows.state.rocks_options import RocksResources
folder = Path(sys.argv[1])
resources = RocksResources(8 << 20, 8 << 20)
"""


@contextmanager
def process(folder: Path, script: str, **options: object) -> Iterator[subprocess.Popen[str]]:
    """Run a script beside us; it talks by lines and ends when its input does."""
    code = PROLOGUE + textwrap.dedent(script)
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        **options,  # type: ignore[call-overload]
    ) as running:
        yield running
        if running.stdin is not None:
            running.stdin.close()
        running.wait(20)


def line(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    return running.stdout.readline().strip()


def tell(running: subprocess.Popen[str], word: str) -> None:
    assert running.stdin is not None
    running.stdin.write(word + "\n")
    running.stdin.flush()


def filled(folder: Path, rows: int = 20_000) -> None:
    store = RocksStore(folder, RESOURCES)
    store.create_table("t")
    noise: dict[bytes, bytes | None] = {i.to_bytes(4, "big"): os.urandom(40) for i in range(rows)}
    store.write(StoreWrite(puts={"t": noise}, positions={"t": rows}))
    store.close()


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


def spoil(path: Path, at: int, size: int = 60) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xde\xad" * (size // 2))


def largest(folder: Path, pattern: str) -> Path:
    return max(folder.glob(pattern), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: spoil(largest(folder, "*.sst"), largest(folder, "*.sst").stat().st_size - 60),
        lambda folder: os.truncate(largest(folder, "*.sst"), 1000),
        lambda folder: largest(folder, "*.sst").unlink(),
        lambda folder: spoil(largest(folder, "MANIFEST-*"), 40),
        lambda folder: largest(folder, "MANIFEST-*").unlink(),
        lambda folder: (folder / "CURRENT").write_text("nonsense"),
        lambda folder: (folder / "CURRENT").write_text(""),
        lambda folder: (folder / "CURRENT").unlink(),
    ],
    ids=["sst-tail", "sst-short", "sst-gone", "manifest", "manifest-gone", "current", "current-empty", "current-gone"],
)  # fmt: skip
@pytest.mark.parametrize("read_only", [False, True], ids=["write", "read"])
def test_damage_found_when_opening(tmp_path: Path, damage: Callable[[Path], object], read_only: bool) -> None:
    folder = tmp_path / "task"
    filled(folder, rows=2000)
    damage(folder)
    with pytest.raises(StateCorrupt, match=f"{folder} is damaged.*rebuilt from the changelog"):
        RocksStore(folder, RESOURCES, read_only=read_only)
    destroy_store(folder, RESOURCES.options)
    fresh = RocksStore(folder, RESOURCES)
    assert fresh.tables() == set()
    fresh.close()


@pytest.mark.parametrize("reverse", [False, True])
def test_damage_found_when_reading_never_ends_a_scan_early(tmp_path: Path, reverse: bool) -> None:
    folder = tmp_path / "task"
    filled(folder)
    sst = largest(folder, "*.sst")
    spoil(sst, sst.stat().st_size // 2)
    store = RocksStore(folder, RESOURCES)
    with pytest.raises(StateCorrupt, match="is damaged"):
        list(store.scan("t", reverse=reverse))
    with pytest.raises(StateCorrupt, match="is damaged"):
        store.get_many("t", [i.to_bytes(4, "big") for i in range(20_000)])
    snapshot = store.snapshot()
    with pytest.raises(StateCorrupt, match="is damaged"):
        snapshot.get_many("t", [i.to_bytes(4, "big") for i in range(20_000)])
    store.close()


def test_a_full_disk_is_reported_and_loses_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: the write-ahead log cannot grow."""
    script = """
    import json
    store = RocksStore(folder, resources)
    store.create_table("t")
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, resource.RLIM_INFINITY))
    try:
        for number in range(1, 1000):
            rows = {b"%d" % i: os.urandom(500) + b"%d" % number for i in range(100)}
            store.write(StoreWrite(puts={"t": rows}, positions={"t": number}))
    except StateError as error:
        print(json.dumps([type(error).__name__, str(error), number, store.positions()["t"]]), flush=True)
    os._exit(0)
    """
    with process(tmp_path / "task", script) as running:
        kind, message, failed, position = json.loads(line(running))
    assert kind == "StateError"
    assert message.startswith(f"no room to write the state folder {tmp_path}/task")
    assert position == failed - 1
    store = RocksStore(tmp_path / "task", RESOURCES)
    assert store.positions() == {"t": position}
    assert {value[500:] for _, value in store.scan("t")} == {b"%d" % position}
    store.close()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions are POSIX's")
def test_a_folder_of_somebody_else_is_reported(tmp_path: Path) -> None:
    """Root may do everything, so that the look is taken as another user; others look at a folder without rights."""
    folder = tmp_path / "task"
    filled(folder, rows=10)
    folder.chmod(0)
    script = """
    if os.geteuid() == 0:
        os.setgroups([])
        os.setuid(65534)
    try:
        RocksStore(folder, resources)
    except StateError as error:
        print(type(error).__name__, error, flush=True)
    """
    with process(folder, script) as running:
        said = line(running)
    folder.chmod(0o755)
    assert said.startswith(f"StateError the state folder {folder} may not be used by user")
    assert said.endswith("give that user the folder, or set another state folder")


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "task").write_text("a file")
    with pytest.raises(StateError, match="task"):
        RocksStore(tmp_path / "task", RESOURCES)


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
