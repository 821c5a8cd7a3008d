"""Changes that lie on top of a store but are not in it yet: the layers of a task's write cache.

A layer holds, per table, rows (None deletes) and ranges that were dropped before those rows. `merge` lays layers
over the rows of a store in one ordered pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any, Final

from flows.state.base import Rows, StoreWrite
from flows.state.ordered import OrderedRows, RangeSet

MISSING: Final = object()

Overlay = list[tuple[bytes, bytes | None]]


class Layer:
    """The changes of one table."""

    __slots__ = ("ranges", "rows")

    def __init__(self) -> None:
        self.rows: OrderedRows[bytes | None] = OrderedRows()
        self.ranges = RangeSet()

    def share(self) -> Layer:
        """Return the layer as it is now; reading it from another thread is safe."""
        view = Layer()
        view.rows, view.ranges = self.rows.share(), self.ranges.share()
        return view

    def drop_range(self, start: bytes, end: bytes) -> None:
        """Forget the rows of `[start, end)` and hide those below this layer."""
        if self.rows.rows and start < end:
            self.rows.remove_range(start, end)
        self.ranges.add(start, end)

    def absorb(self, upper: Layer) -> None:
        """Take over the changes of a later layer."""
        for start, end in upper.ranges:
            self.drop_range(start, end)
        self.rows.update(upper.rows.rows)


class Generation:
    """The changes of all tables, with the changelog positions that they stand for."""

    __slots__ = ("positions", "size", "tables")

    def __init__(self) -> None:
        self.tables: dict[str, Layer] = {}
        self.positions: dict[str, int] = {}
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self.tables or self.positions)

    def entries(self) -> int:
        """Return the number of rows and ranges."""
        return sum(len(layer.rows) + len(layer.ranges) for layer in self.tables.values())

    def layer(self, table: str) -> Layer:
        """Return the table's layer, a new one if it has none."""
        found = self.tables.get(table)
        if found is None:
            found = self.tables[table] = Layer()
        return found

    def absorb(self, upper: Generation) -> None:
        """Take over a later generation; `upper` must not be used any more."""
        for table, layer in upper.tables.items():
            mine = self.tables.get(table)
            if mine is None:
                self.tables[table] = layer
            else:
                mine.absorb(layer)
        self.positions.update(upper.positions)
        self.size += upper.size

    def write(self) -> StoreWrite:
        """Return the generation as one atomic change of the store."""
        return StoreWrite(
            puts={table: layer.rows.rows for table, layer in self.tables.items() if layer.rows.rows},
            ranges={table: list(layer.ranges) for table, layer in self.tables.items() if len(layer.ranges)},
            positions=dict(self.positions),
        )


class Lookup:
    """Look keys up in layers from the top down, and tell which ones are left for the store."""

    __slots__ = ("keys", "left", "values")

    def __init__(self, keys: Sequence[bytes]) -> None:
        self.keys = keys
        self.values: list[Any] = []
        self.left: list[int] | None = None

    def through(self, rows: dict[bytes, bytes | None], ranges: RangeSet | None = None) -> None:
        """Take what this layer knows: its rows, and None for what its ranges hide."""
        if self.left is None:
            self.values = list(map(rows.get, self.keys, repeat(MISSING)))
            self.left = [at for at, value in enumerate(self.values) if value is MISSING]
        elif rows:
            self._fill_gaps(rows)
        if ranges is not None and len(ranges) and self.left:
            self._hide(ranges)

    def _fill_gaps(self, rows: dict[bytes, bytes | None]) -> None:
        keys, values, left = self.keys, self.values, []
        for at in self.left or ():
            value = values[at] = rows.get(keys[at], MISSING)
            if value is MISSING:
                left.append(at)
        self.left = left

    def _hide(self, ranges: RangeSet) -> None:
        left = []
        for at in self.left or ():
            if ranges.covers(self.keys[at]):
                self.values[at] = None
            else:
                left.append(at)
        self.left = left

    def missing(self) -> list[bytes]:
        """Return the keys that no layer knew."""
        if self.left is None:
            return list(self.keys)
        return [self.keys[at] for at in self.left]

    def fill(self, found: Sequence[bytes | None]) -> list[bytes | None]:
        """Put the store's answers for `missing` in their places and return all values."""
        if self.left is None:
            return list(found)
        for at, value in zip(self.left, found, strict=True):
            self.values[at] = value
        return self.values


def merge(layers: Sequence[Layer], base: Rows, start: bytes, end: bytes | None, *, reverse: bool = False) -> Rows:
    """Iterate the rows of `base` in `[start, end)` as the layers change them; the first layer is the topmost.

    What the layers say is read before the first row is asked for.
    """
    overlay: dict[bytes, bytes | None] = {}
    hidden = RangeSet()
    for layer in reversed(layers):
        for low, high in layer.ranges:
            hidden.add(low, high)
            for key in [key for key in overlay if low <= key < high]:
                del overlay[key]
        overlay.update(layer.rows.between(start, end))
    if not overlay and not len(hidden):
        return base
    return _merged(base, sorted(overlay.items(), reverse=reverse), hidden, reverse)


def _merged(base: Rows, overlay: Overlay, hidden: RangeSet, reverse: bool) -> Rows:
    at, count = 0, len(overlay)
    for key, value in base:
        while at < count and (overlay[at][0] > key if reverse else overlay[at][0] < key):
            yield from _alive(overlay[at])
            at += 1
        if at < count and overlay[at][0] == key:
            yield from _alive(overlay[at])
            at += 1
        elif not hidden.covers(key):
            yield key, value
    for row in overlay[at:]:
        yield from _alive(row)


def _alive(row: tuple[bytes, bytes | None]) -> Iterator[tuple[bytes, bytes]]:
    key, value = row
    if value is not None:
        yield key, value
