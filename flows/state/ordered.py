"""Rows in memory that are quick to update and, once somebody asks, in key order; and sets of key ranges.

The write cache and the memory store are made of these. The order is kept only for tables that are scanned; the
others pay nothing for it. A view taken by `share` stays as it is: whoever changes the rows next copies first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar

V = TypeVar("V", bytes, bytes | None)

_FEW = 64


class OrderedRows(Generic[V]):
    """A dict of rows with a lazily sorted list of its keys.

    >>> rows = OrderedRows({b"b": b"2", b"a": b"1"})
    >>> rows.between(b"", b"b")
    [(b'a', b'1')]
    """

    __slots__ = ("_index", "_shared", "rows")

    def __init__(self, rows: dict[bytes, V] | None = None) -> None:
        self.rows: dict[bytes, V] = {} if rows is None else rows
        # The keys in order and those that came since; one attribute, so that readers of a view swap it at once.
        self._index: tuple[list[bytes], list[bytes]] | None = None
        self._shared = False

    def __len__(self) -> int:
        return len(self.rows)

    def share(self) -> OrderedRows[V]:
        """Return the rows as they are now; reading it from other threads is safe."""
        view: OrderedRows[V] = OrderedRows(self.rows)
        if self._index is not None:
            order, fresh = self._index
            view._index = order, list(fresh)
        view._shared = self._shared = True
        return view

    def update(self, rows: Mapping[bytes, V]) -> None:
        """Add rows, or replace those that are there."""
        self._own()
        if self._index is not None:
            known = self.rows
            self._index[1].extend(key for key in rows if key not in known)
        self.rows.update(rows)

    def remove(self, keys: Iterable[bytes]) -> None:
        """Drop rows; keys that are not there do no harm."""
        self._own()
        gone = {key for key in keys if key in self.rows}
        order = self._ordered() if self._index is not None and len(gone) <= _FEW else None
        for key in gone:
            del self.rows[key]
            if order is not None:
                del order[bisect_left(order, key)]
        if order is None and gone:
            self._index = None

    def remove_range(self, start: bytes, end: bytes) -> None:
        """Drop the rows of `[start, end)`."""
        self._own()
        order = self._ordered()
        low, high = bisect_left(order, start), bisect_left(order, end)
        for key in order[low:high]:
            del self.rows[key]
        del order[low:high]

    def between(self, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False) -> list[tuple[bytes, V]]:
        """Return the rows of `[start, end)` in key order, or backwards."""
        if not self.rows:
            return []
        order = self._ordered()
        high = len(order) if end is None else bisect_left(order, end)
        keys = order[bisect_left(order, start) : high]
        if reverse:
            keys.reverse()
        rows = self.rows
        return [(key, rows[key]) for key in keys]

    def _own(self) -> None:
        """Copy what a view also holds before the first change."""
        if self._shared:
            self.rows = dict(self.rows)
            self._index = None if self._index is None else (list(self._index[0]), self._index[1])
            self._shared = False

    def _ordered(self) -> list[bytes]:
        if self._index is None:
            order = sorted(self.rows)
        else:
            order, fresh = self._index
            if not fresh:
                return order
            # A shared list is never changed in place: a view may be read by another thread.
            if self._shared or len(fresh) > _FEW:
                order = sorted(order + fresh)
            else:
                for key in fresh:
                    insort(order, key)
        self._index = order, []
        return order


class RangeSet:
    """Half-open ranges of keys, kept disjoint and in order.

    >>> ranges = RangeSet([(b"a", b"c"), (b"b", b"d")])
    >>> list(ranges), ranges.covers(b"c")
    ([(b'a', b'd')], True)
    """

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._starts: list[bytes] = []
        self._ends: list[bytes] = []
        for start, end in ranges:
            self.add(start, end)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(zip(self._starts, self._ends, strict=True))

    def __len__(self) -> int:
        return len(self._starts)

    def share(self) -> RangeSet:
        """Return the ranges as they are now."""
        copy = RangeSet()
        copy._starts, copy._ends = list(self._starts), list(self._ends)
        return copy

    def add(self, start: bytes, end: bytes) -> None:
        """Join `[start, end)` with the ranges that it touches; an empty one adds nothing."""
        if start >= end:
            return
        low, high = bisect_left(self._ends, start), bisect_right(self._starts, end)
        if low < high:
            start, end = min(start, self._starts[low]), max(end, self._ends[high - 1])
        self._starts[low:high], self._ends[low:high] = [start], [end]

    def covers(self, key: bytes) -> bool:
        """Tell whether a key lies in one of the ranges."""
        at = bisect_right(self._starts, key) - 1
        return at >= 0 and key < self._ends[at]
