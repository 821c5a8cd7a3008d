"""A task's committed rows at one moment: the layers of its write cache over a snapshot of its store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flows.state.base import Rows, StoreSnapshot
from flows.state.layers import Layer, Lookup, merge


class TaskSnapshot:
    """Layers, topmost first, over a store's snapshot; readable from any thread until closed."""

    def __init__(self, layers: Sequence[Mapping[str, Layer]], store: StoreSnapshot) -> None:
        self._layers = layers
        self._store = store

    def scan(self, table: str, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False) -> Rows:
        base = self._store.scan(table, start, end, reverse=reverse)
        return merge(self._of(table), base, start, end, reverse=reverse)

    def get_many(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        lookup = Lookup(keys)
        for layer in self._of(table):
            lookup.through(layer.rows.rows, layer.ranges)
        missing = lookup.missing()
        return lookup.fill(self._store.get_many(table, missing) if missing else [])

    def close(self) -> None:
        self._store.close()

    def _of(self, table: str) -> list[Layer]:
        return [layer for tables in self._layers if (layer := tables.get(table)) is not None]
