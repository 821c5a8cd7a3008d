"""What a reader of tables may ask: the same of a running worker and of a data folder where none runs.

Readers see committed rows only. A row is a dict: key columns, `window_start` and `window_end` in seconds where the
table has windows, then the aggregates (or `key` and `value` of a dictionary table).
"""

from __future__ import annotations

import base64
import builtins
from collections.abc import AsyncIterator, Iterable
from typing import Any, Protocol

import msgspec
import polars as pl

Row = dict[str, Any]

_WIDE = pl.Decimal(38, 0)

SIGNATURE = "Flows-Worker"
"""The header of an answer that tells which worker gives it: addresses can be stale, and ports be taken by others."""


WHOLE = "global"
"""The kind of tables that every worker has all of."""


class TableInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a table: `columns` are names and types in order.

    `kind` is "declared", "dictionary", "set" or "global"; a global one has no partitions, being whole on every worker.
    """

    name: str
    kind: str
    columns: tuple[tuple[str, str], ...]
    keys: tuple[str, ...]
    window: str | None = None
    partitions: tuple[int, ...] = ()


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """A partition that an answer lacks: who holds it (None: nobody), and why it could not be read, in a few words."""

    table: str
    partition: int
    worker: str | None
    reason: str


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a partition of a table: `state` is "running", "restoring", "unknown" (no answer) or "nobody".

    `done` and `total` are the records of its changelogs replayed so far, and in all.
    """

    partition: int
    worker: str | None
    state: str
    done: int = 0
    total: int = 0


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The entries that are asked of a part of a table; without any limits all of them.

    `key` keeps rows one of whose key columns contains this text, `exact` those of these key bytes (without window),
    `window` those whose window starts at this second.
    """

    partitions: tuple[int, ...]
    key: str | None = None
    exact: bytes | None = None
    window: float | None = None
    limit: int | None = None


class Part(msgspec.Struct, frozen=True):
    """What one worker has of a table, as stored keys and values, and what it was asked for and cannot read."""

    entries: list[tuple[bytes, bytes]]
    missing: list[Missing]


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
    """The tables that can be read here. Unknown names raise `KeyError`.

    What an answer lacks is appended to the list `missing` of its caller; a partition at most once.
    """

    def list(self) -> list[TableInfo]: ...

    async def rows(
        self,
        table: str,
        *,
        key: str | None = None,
        window: float | None = None,
        limit: int = 1000,
        missing: builtins.list[Missing] | None = None,
    ) -> builtins.list[Row]:
        """Return rows, newest window first. `key` keeps rows one of whose key columns contains this text,
        `window` those whose window starts at this second."""

    async def windows(
        self, table: str, *, limit: int = 200, missing: builtins.list[Missing] | None = None
    ) -> builtins.list[float]:
        """Return the starts of the windows there are, in seconds, newest first; empty for a table without."""

    async def frame(self, table: str, *, missing: builtins.list[Missing] | None = None) -> pl.DataFrame:
        """Return all rows as columns."""

    def changes(self, table: str) -> AsyncIterator[builtins.list[Change]]:
        """Yield the changes of each commit from now on, coalesced per key where the reader is slow."""


class LocalTables(Tables, Protocol):
    """The part of the tables that this worker holds, as its peers ask for it."""

    async def part(self, table: str, wanted: Wanted) -> Part:
        """Return the wanted entries, newest window first."""

    async def packed(self, table: str, wanted: Wanted) -> bytes:
        """Return the same as an Arrow stream; see `flows.query.entries`."""

    async def starts(
        self, table: str, partitions: builtins.list[int], *, limit: int
    ) -> tuple[builtins.list[float], builtins.list[Missing]]:
        """Return the newest window starts of these partitions, and the partitions that cannot be read here."""


def narrowed(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame whose 128-bit integers are decimals, as Arrow and Parquet know them."""
    casts = {name: kind for name, dtype in frame.schema.items() if (kind := _without_int128(dtype)) != dtype}
    return frame.cast(casts)  # type: ignore[arg-type]


def _without_int128(dtype: Any) -> Any:
    if isinstance(dtype, pl.List):
        return pl.List(_without_int128(dtype.inner))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: _without_int128(field.dtype) for field in dtype.fields})
    return _WIDE if dtype == pl.Int128 else dtype


def note_missing(missing: list[Missing] | None, more: Iterable[Missing]) -> None:
    """Append what an answer lacks to its caller's list, each partition once."""
    if missing is not None:
        known = {(m.table, m.partition) for m in missing}
        missing.extend(m for m in more if (m.table, m.partition) not in known)


def key_contains(key: Row, text: str) -> bool:
    """Tell whether one of a row's key columns contains the text; the window's bounds are no key columns."""
    return any(text in _text(value) for name, value in key.items() if name not in ("window_start", "window_end"))


def _text(value: Any) -> str:
    """Return a value as the API shows it, so that a row that came from another worker as JSON is found the same."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    return msgspec.json.encode(value, enc_hook=str).decode().strip('"')
