"""Opening a task's store; what is damaged is set aside and rebuilt from the changelogs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from flows.errors import StateCorrupt, StateError, StateLocked
from flows.state.base import Store
from flows.state.rocks import RocksStore
from flows.state.rocks_open import destroy_store
from flows.state.rocks_options import RocksResources

log = logging.getLogger("flows.state")

_FOLDERS = 64


class Stores:
    """The stores of a worker's tasks, in one folder each; they share one block cache and write-buffer budget."""

    def __init__(self, folder: Path, cache_bytes: int, write_buffer_bytes: int) -> None:
        self._folder = folder
        self._resources = RocksResources(cache_bytes, write_buffer_bytes)
        self._open_at: dict[str, Path] = {}

    def open(self, task_id: str) -> Store:
        """Open a task's store; raises `StateError`.

        Where a stopped process still holds the folder, another beside it serves: the changelogs hold all that is in it.
        """
        for attempt in range(_FOLDERS):
            path = self._folder / (task_id if not attempt else f"{task_id}@{attempt}")
            try:
                return self._open(task_id, path)
            except StateLocked as error:
                log.warning("%s; trying another folder beside it", error)
        raise StateLocked(f"{_FOLDERS} folders for task {task_id} in {self._folder} are held by other processes")

    def _open(self, task_id: str, path: Path) -> Store:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(
                f"state folder {path} cannot be made: {error.strerror}",
                fix="choose another with --data, or mend its rights",
            ) from error
        try:
            store = RocksStore(path, self._resources)
        except StateCorrupt as error:
            log.warning("%s; it is rebuilt from its changelogs", error.message)
            destroy_store(path, self._resources.options)
            store = RocksStore(path, self._resources)
        self._open_at[task_id] = path
        return store

    def caches(self) -> dict[str, int]:
        """Return the bytes that all stores share: of cached blocks, of those the pinned ones, and of memtables."""
        cache = self._resources.cache
        buffers = self._resources.write_buffers.get_usage()
        return {"blocks": cache.get_usage(), "pinned": cache.get_pinned_usage(), "memtables": buffers}

    def positions(self, task_id: str) -> Mapping[str, int] | None:
        """Read the changelog positions in a task's closed store; None where there is none that can be read."""
        path = self._folder / task_id
        if not path.is_dir():
            return None
        try:
            store = RocksStore(path, self._resources)
        except StateError as error:
            log.debug("the store of task %s is not counted: %s", task_id, error)
            return None
        try:
            return store.positions()
        finally:
            store.close()

    def discard(self, task_id: str) -> None:
        """Delete a task's closed store, so that the next `open` begins with an empty one."""
        path = self._open_at.pop(task_id, None)
        if path is not None:
            destroy_store(path, self._resources.options)


def open_tables(open_store: Callable[[str], Store], task_id: str, tables: Iterable[str]) -> Store:
    """Open a task's store and add the tables that it does not have yet."""
    store = open_store(task_id)
    for table in tables:
        store.create_table(table)
    return store
