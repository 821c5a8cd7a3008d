"""The stores that the contract suite runs on, and processes to share them with.

A test module wraps the stores in fixtures of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.state.base import Store, StoreWrite
from flows.state.memory import MemoryStore
from flows.state.rocks import RocksStore
from flows.state.rocks_options import MIB, RocksResources

MakeStore = Callable[[], Store]

KINDS = ["memory", "rocks"]
RESOURCES = RocksResources(cache_bytes=8 * MIB, write_buffer_bytes=8 * MIB)


def open_stores(kind: str, folder: Path) -> Iterator[MakeStore]:
    """Yield a function that opens the one store of a test; called again after `close` it opens the same rows."""
    opened: list[Store] = []
    memory = MemoryStore()

    def make() -> Store:
        store: Store = memory if kind == "memory" else RocksStore(folder / "task", RESOURCES)
        opened.append(store)
        return store

    yield make
    for store in opened:
        store.close()


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


def filled(folder: Path, rows: int = 20_000) -> None:
    store = RocksStore(folder, RESOURCES)
    store.create_table("t")
    noise: dict[bytes, bytes | None] = {i.to_bytes(4, "big"): os.urandom(40) for i in range(rows)}
    store.write(StoreWrite(puts={"t": noise}, positions={"t": rows}))
    store.close()
