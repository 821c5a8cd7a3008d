"""What a reader of tables may ask: the same of a running worker and of a data folder where none runs.

Readers see committed rows only. A row is a dict: key columns, `window_start` and `window_end` in seconds where the
table has windows, then the aggregates (or `key` and `value` of a dictionary table).
"""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator
from typing import Any, Protocol

import msgspec
import polars as pl

Row = dict[str, Any]


class TableInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a table: `kind` is "declared" or "dictionary", `columns` are names and types in order."""

    name: str
    kind: str
    columns: tuple[tuple[str, str], ...]
    keys: tuple[str, ...]
    window: str | None = None
    partitions: tuple[int, ...] = ()


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One committed change: the row's key columns (and window), and the new row, or None when it was removed.

    `timestamp` is the largest event time in the row, in seconds, where the table has one.
    """

    key: Row
    row: Row | None
    timestamp: float | None = None


class ChangesMissed(Exception):
    """More keys changed than are kept for a slow reader: read the table again, and iterate on."""


class Tables(Protocol):
    """The tables that can be read here. Unknown names raise `KeyError`."""

    def list(self) -> list[TableInfo]: ...

    async def rows(
        self, table: str, *, key: str | None = None, window: float | None = None, limit: int = 1000
    ) -> builtins.list[Row]:
        """Return rows, newest window first. `key` keeps rows one of whose key columns contains this text,
        `window` those whose window starts at this second."""

    async def windows(self, table: str, *, limit: int = 200) -> builtins.list[float]:
        """Return the starts of the windows there are, in seconds, newest first; empty for a table without."""

    async def frame(self, table: str) -> pl.DataFrame:
        """Return all rows as columns."""

    def changes(self, table: str) -> AsyncIterator[builtins.list[Change]]:
        """Yield the changes of each commit from now on, coalesced per key where the reader is slow."""


def key_contains(key: Row, text: str) -> bool:
    """Tell whether one of a row's key columns contains the text; the window's bounds are no key columns."""
    return any(text in _text(value) for name, value in key.items() if name not in ("window_start", "window_end"))


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
