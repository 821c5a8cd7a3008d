"""From stored bytes to the rows that readers see; `compile` makes the decoder of each table.

Entries are `(key bytes, value bytes)` in key order, which is window by window for a table with windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

import polars as pl

from flows.query.base import Row, TableInfo, key_contains

Entry = tuple[bytes, bytes]

_CHUNK = 2048
_WINDOW_BYTES = 8


class RowDecoder(Protocol):
    """Knows how a table's rows are stored."""

    info: TableInfo

    def key(self, key: bytes) -> Row:
        """Return the key columns of a row, and its window."""

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
    chosen = list(entries)
    if window is not None:
        chosen = [e for e in chosen if decoder.window_start(e[0]) == window]
    if decoder.info.window is not None:
        # Stable, so that within a window rows stay in key order.
        chosen.sort(key=lambda e: e[0][:_WINDOW_BYTES], reverse=True)
    return list(islice(_matching(decoder, chosen, key), max(limit, 0)))


def _matching(decoder: RowDecoder, entries: Sequence[Entry], text: str | None) -> Iterator[Row]:
    for start in range(0, len(entries), _CHUNK):
        rows = decoder.rows(entries[start : start + _CHUNK])
        if text is None:
            yield from rows
        else:
            yield from (r for r in rows if key_contains({k: r[k] for k in decoder.info.keys}, text))


def window_starts(decoder: RowDecoder, entries: Iterable[Entry], *, limit: int = 200) -> list[float]:
    """Return the starts of the windows that have rows, in seconds, newest first."""
    if decoder.info.window is None:
        return []
    firsts = {e[0][:_WINDOW_BYTES]: e[0] for e in entries}
    starts = [decoder.window_start(firsts[w]) for w in sorted(firsts, reverse=True)[: max(limit, 0)]]
    return [s for s in starts if s is not None]
