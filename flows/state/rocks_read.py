"""Reading RocksDB: sorted multi-gets, and snapshots whose scans see one moment and cannot end early by mistake.

Three traps of rocksdict shape this module (each tried, each with a test): iterators made from its `Snapshot` do
not see the snapshot but the newest rows; `items()` ends without a word where a block is damaged; and a lower bound
in `ReadOptions` sets the upper one. So a view keeps one plain iterator, which pins the moment of its making and has
a status to ask, and seeks it anew for every chunk of a scan.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from rocksdict import Rdict, RdictIter, Snapshot

from flows.errors import StateError
from flows.state.base import Rows
from flows.state.rocks_errors import translate

_FIRST_CHUNK, _LARGEST_CHUNK = 32, 4096
_MISSING = "key not found"

Chunk = list[tuple[bytes, bytes]]


class View(NamedTuple):
    """One table at one moment: a snapshot for single keys, an iterator for scans."""

    snapshot: Snapshot
    iterator: RdictIter


class _Span(NamedTuple):
    """What is left of a scan: `[start, end)`."""

    start: bytes
    end: bytes | None
    reverse: bool

    def after(self, key: bytes) -> _Span:
        return self._replace(end=key) if self.reverse else self._replace(start=key + b"\x00")


class RocksSnapshot:
    """All tables of a store at one moment, readable from any thread until it or its store is closed."""

    def __init__(self, path: Path, views: Mapping[str, View]) -> None:
        self._path = path
        self._views: dict[str, View] | None = dict(views)
        self._reading = threading.Lock()

    def scan(self, table: str, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False) -> Rows:
        with self._reading:
            self._view(table)  # an unknown table is told at once, not at the first row
        return self._rows(table, _Span(start, end, reverse))

    def get_many(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        found: dict[bytes, bytes | None] = {}
        with self._reading:
            snapshot = self._view(table).snapshot
            for key in sorted(keys):
                found[key] = self._get(snapshot, key)
        return list(map(found.__getitem__, keys))

    def close(self) -> None:
        """Let go of the moment, so that RocksDB may drop what only this view holds."""
        with self._reading:
            self._views = None

    def _rows(self, table: str, span: _Span) -> Rows:
        size = _FIRST_CHUNK
        while True:
            chunk = self._chunk(table, span, size)
            yield from chunk
            if len(chunk) < size:
                return
            span, size = span.after(chunk[-1][0]), min(size * 4, _LARGEST_CHUNK)

    def _chunk(self, table: str, span: _Span, size: int) -> Chunk:
        """Read the next rows of a scan; fewer than `size` only at its end."""
        with self._reading:
            iterator = self._view(table).iterator
            try:
                chunk = _backwards(iterator, span, size) if span.reverse else _forwards(iterator, span, size)
                iterator.status()
            except Exception as error:
                raise translate(error, self._path) from error
        return chunk

    def _get(self, snapshot: Snapshot, key: bytes) -> bytes | None:
        try:
            value: bytes = snapshot[key]
        except Exception as error:
            if str(error) == _MISSING:
                return None
            raise translate(error, self._path) from error
        return value

    def _view(self, table: str) -> View:
        if self._views is None:
            raise StateError(f"this snapshot of {self._path} is closed", fix="take a new one")
        try:
            return self._views[table]
        except KeyError:
            known = ", ".join(sorted(self._views)) or "none"
            raise StateError(
                f"the state in {self._path} has no table {table!r} (it has: {known})", fix="create it first"
            ) from None


def get_sorted(family: Rdict, keys: Sequence[bytes], top: bytes) -> list[bytes | None]:
    """Get many keys in key order, which is twice as fast, and return the values in the order asked.

    No row lies above `top`: the keys of new windows, most of all misses, are not looked up at all.
    """
    if len(keys) == 1:
        return [family.get(keys[0])]
    ordered = sorted([key for key in keys if key <= top])
    values = family.get(cast(list[Any], ordered)) or ()
    found: dict[bytes, bytes | None] = dict(zip(ordered, values, strict=True))
    return list(map(found.get, keys))


def _forwards(iterator: RdictIter, span: _Span, size: int) -> Chunk:
    iterator.seek(span.start)
    end = span.end
    if end is None:
        return _take(iterator, iterator.next, size, lambda key: True)
    return _take(iterator, iterator.next, size, lambda key: key < end)


def _backwards(iterator: RdictIter, span: _Span, size: int) -> Chunk:
    if span.end is None:
        iterator.seek_to_last()
    else:
        iterator.seek_for_prev(span.end)
        if iterator.valid() and iterator.key() == span.end:
            iterator.prev()
    return _take(iterator, iterator.prev, size, lambda key: key >= span.start)


def _take(iterator: RdictIter, step: Callable[[], None], size: int, inside: Callable[[bytes], bool]) -> Chunk:
    valid, get_key, get_value = iterator.valid, iterator.key, iterator.value
    chunk: Chunk = []
    while valid() and inside(key := get_key()):
        chunk.append((key, get_value()))
        if len(chunk) == size:
            break
        step()
    return chunk
