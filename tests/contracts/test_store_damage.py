"""A store whose files are damaged, whose disk is full, or whose folder is somebody else's: told, never guessed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.errors import StateCorrupt, StateError
from flows.state.rocks import RocksStore
from flows.state.rocks_open import destroy_store
from tests.contracts.store_fixtures import RESOURCES, filled, line, process


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
