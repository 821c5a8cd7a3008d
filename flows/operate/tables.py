"""What the operators of declared tables have in common: what they need of the rest, and what the rest needs of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import polars as pl

from flows.operate.base import Batch


class KeyEncoder(Protocol):
    """The canonical key bytes of a table."""

    def encode_columns(self, columns: Sequence[list[Any]], *numbers: list[int]) -> list[bytes]:
        """Encode the rows of key columns, each behind the numbers of its window."""

    def window_range(self, start: int, end: int) -> tuple[bytes, bytes]:
        """Return the byte range of the windows whose first number is in `[start, end)`."""


class Accumulators(Protocol):
    """The mergeable states of a table's aggregates."""

    @property
    def needs_order(self) -> bool:
        """Tell whether `partial` needs the columns `$partition` and `$offset`."""

    def partial(self, frame: pl.DataFrame, by: list[str]) -> pl.DataFrame: ...

    def gather(self, partials: list[pl.DataFrame], by: list[str], *, distinct: bool = False) -> pl.DataFrame: ...

    def merge(self, stored: Sequence[bytes | None], gathered: pl.DataFrame) -> list[bytes]: ...

    def forget(self) -> None:
        """Learn that all partials of the commit are merged."""

    def load(self, states: Sequence[bytes]) -> pl.DataFrame: ...


class TaskTables(Protocol):
    """The task's state as an operator sees it: committed rows, and the commit that is being made."""

    def get_many(self, table: str, keys: list[bytes], *, uncommitted: bool = False) -> list[bytes | None]: ...

    def stage(self, table: str, keys: list[bytes], values: Sequence[bytes | None]) -> None: ...

    def stage_range_delete(self, table: str, start: bytes, end: bytes, keys: Sequence[bytes] | None) -> object: ...

    def scan(self, table: str, start: bytes, end: bytes, *, uncommitted: bool) -> Iterator[tuple[bytes, bytes]]: ...


class LateRows(Protocol):
    """Where late rows go."""

    def add(self, rows: pl.DataFrame, batch: Batch) -> None:
        """Take rows with the columns of their table, `$window` being one that was closed for the row."""


Round = dict[bytes, bytes | None]
"""Rows of a table that changed: stored keys and states, None for a removed one."""

Row = dict[str, Any]


class TableRows(Protocol):
    """The rows of a table, from their stored form."""

    def key(self, key: bytes) -> Row: ...

    def rows(self, entries: Sequence[tuple[bytes, bytes]]) -> list[Row]: ...

    def visible(self, entries: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]: ...


Changed = Callable[[list[bytes], Sequence[bytes | None]], None]
"""Told, at each commit, which rows of the table changed to what (None: removed), in order."""


class TableStep(Protocol):
    """One declared table in one task. Nothing in the task reads it between commits.

    `floor` is how far silence has moved time: it closes windows of `emit="close"` tables, and records that come for
    them afterwards are late.
    """

    table: str
    floor: int

    def process(self, frame: pl.DataFrame, batch: Batch) -> None:
        """Sum up a batch's rows by key and window."""

    @property
    def waiting(self) -> int:
        """The partial rows that wait for the commit."""

    def flush(self, watermark: int) -> None:
        """Merge the partials into the state (step 2 of the commit); close and expire windows by the stream time."""

    def would_close(self, watermark: int) -> bool:
        """Tell whether a stream time would close a window that is open now."""

    def is_waiting(self) -> bool:
        """Tell whether any window waits for its end."""

    def reached(self, watermark: int) -> int:
        """Return the stream time of the table's changes: rows that change later have seen this event time or more.

        Of a table that waits for the end of windows it is where the first open one begins; else the input's.
        """


class WithoutClosing:
    """What a `TableStep` says of time whose rows never wait for it: it closes nothing, and passes as it came."""

    def would_close(self, watermark: int) -> bool:
        """Tell that time closes nothing."""
        return False

    def is_waiting(self) -> bool:
        """Tell that nothing waits for its end."""
        return False

    def reached(self, watermark: int) -> int:
        """Return the stream time behind the step: that of its input."""
        return watermark
