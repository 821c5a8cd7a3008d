"""From stored bytes to the rows that readers see; `compile` makes the decoder of each table.

Entries are `(key bytes, value bytes)` in key order, which is window by window for a table with windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

import polars as pl

from flows.query.base import Row, TableInfo, Wanted, key_contains

Entry = tuple[bytes, bytes]

_CHUNK = 2048


class RowDecoder(Protocol):
    """Knows how a table's rows are stored."""

    info: TableInfo

    @property
    def window_bytes(self) -> int:
        """The bytes of an encoded key that stand for its window, and order windows by time; 0 without windows."""

    def key(self, key: bytes) -> Row:
        """Return the key columns of a row, and its window."""

    def key_rows(self, keys: Sequence[bytes]) -> list[Row]:
        """Return the key columns of many rows, without their windows."""

    def visible(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Return the entries that readers see: not those of windows that wait for their end."""

    def rows(self, entries: Sequence[Entry]) -> list[Row]:
        """Return the rows of entries, in their order."""

    def frame(self, entries: Sequence[Entry]) -> pl.DataFrame:
        """Return entries as columns."""

    def window_start(self, key: bytes) -> float | None:
        """Return the window start of a key in seconds; None for a table without windows."""


def select_rows(
    decoder: RowDecoder,
    entries: Iterable[Entry],
    *,
    key: str | None = None,
    window: float | None = None,
    limit: int = 1000,
) -> list[Row]:
    """Return the rows that a reader asks for, newest window first; what is left out is not decoded."""
    wanted = Wanted(partitions=(), key=key, window=window, limit=limit)
    return decoder.rows(select_entries(decoder, entries, wanted))


def select_entries(decoder: RowDecoder, entries: Iterable[Entry], wanted: Wanted) -> list[Entry]:
    """Return the entries that a reader asks for, newest window first, within a window in their order."""
    chosen: Iterable[Entry] = entries
    if wanted.exact is not None:
        skip, exact = decoder.window_bytes, wanted.exact
        chosen = (e for e in chosen if e[0][skip:] == exact)
    if wanted.window is not None:
        chosen = (e for e in chosen if decoder.window_start(e[0]) == wanted.window)
    if decoder.info.window is not None:
        # Stable, so that within a window rows stay in key order.
        size = decoder.window_bytes
        chosen = sorted(chosen, key=lambda e: e[0][:size], reverse=True)
    found = chosen if wanted.key is None else _matching(decoder, iter(chosen), wanted.key)
    return list(found) if wanted.limit is None else list(islice(found, max(wanted.limit, 0)))


def _matching(decoder: RowDecoder, entries: Iterator[Entry], text: str) -> Iterator[Entry]:
    while part := list(islice(entries, _CHUNK)):
        keys = decoder.key_rows([key for key, _ in part])
        yield from (entry for entry, key in zip(part, keys, strict=True) if key_contains(key, text))


def window_starts(decoder: RowDecoder, entries: Iterable[Entry], *, limit: int = 200) -> list[float]:
    """Return the starts of the windows that have rows, in seconds, newest first."""
    if decoder.info.window is None:
        return []
    firsts = {e[0][: decoder.window_bytes]: e[0] for e in entries}
    starts = {decoder.window_start(key) for key in firsts.values()}
    return sorted((s for s in starts if s is not None), reverse=True)[: max(limit, 0)]
