"""The stores that the contract suite runs on; a test module wraps them in fixtures of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from flows.state.base import Store
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
