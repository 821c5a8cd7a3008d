"""Declared tables: rows become partial aggregates at once, and meet the stored state once a commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import polars as pl

from dsl.window import Window
from flows.operate.base import NO_TIME, OFFSET, PARTITION, TIME, WATERMARK, WINDOW, Batch
from flows.operate.windows import PANE, WindowAssigner
from flows.state.base import OPEN

BEGINNING = -(1 << 62)
"""Before all event times, in microseconds."""


class KeyEncoder(Protocol):
    """The canonical key bytes of a table."""

    def encode_columns(self, columns: Sequence[list[Any]], windows: list[int] | None) -> list[bytes]: ...

    def window_range(self, start: int, end: int) -> tuple[bytes, bytes]:
        """Return the byte range of the windows that begin in `[start, end)`."""


class Accumulators(Protocol):
    """The mergeable states of a table's aggregates."""

    @property
    def needs_order(self) -> bool:
        """Tell whether `partial` needs the columns `$partition` and `$offset`."""

    def partial(self, frame: pl.DataFrame, by: list[str]) -> pl.DataFrame: ...

    def gather(self, partials: list[pl.DataFrame], by: list[str], *, distinct: bool) -> pl.DataFrame: ...

    def merge(self, stored: Sequence[bytes | None], gathered: pl.DataFrame) -> list[bytes]: ...


class TaskTables(Protocol):
    """The task's state as an operator sees it: committed rows, and the commit that is being made."""

    def get_many(self, table: str, keys: list[bytes]) -> list[bytes | None]: ...

    def stage(self, table: str, keys: list[bytes], values: Sequence[bytes | None]) -> None: ...

    def stage_range_delete(self, table: str, start: bytes, end: bytes, keys: Sequence[bytes] | None) -> object: ...

    def scan(self, table: str, start: bytes, end: bytes, *, uncommitted: bool) -> Iterator[tuple[bytes, bytes]]: ...


class LateRows(Protocol):
    """Where late rows go."""

    def add(self, rows: pl.DataFrame, batch: Batch) -> None: ...


Changed = Callable[[list[bytes], Sequence[bytes | None]], None]
"""Told, at each commit, which rows of the table changed to what (None: removed)."""


class AggregateStep:
    """One declared table in one task.

    Only terminal tables are built so: nothing in the task reads them between commits.
    """

    def __init__(
        self,
        table: str,
        keys: tuple[str, ...],
        window: Window | None,
        arguments: list[pl.Expr],
        *,
        accumulators: Accumulators,
        encoder: KeyEncoder,
        state: TaskTables,
        late: LateRows,
        changed: Changed,
    ) -> None:
        self.table, self.window = table, window
        self._keys, self._arguments = keys, arguments
        self._accumulators, self._encoder, self._state = accumulators, encoder, state
        self._late, self._changed = late, changed
        self._by = [*keys, WINDOW] if window else list(keys)
        self._assigner = WindowAssigner(window) if window else None
        order = [PARTITION, OFFSET] if accumulators.needs_order else []
        self._needed = [*map(pl.col, keys), pl.col(TIME), pl.col(WATERMARK), *map(pl.col, order), *arguments]
        self._partials: list[pl.DataFrame] = []
        self._waiting = 0
        self._closed: int | None = None
        self._expired: int | None = None
        # Panes of a hopping window give several partial rows a group, everything else one.
        self._distinct = window is None or window.is_tumbling
        self.floor = NO_TIME
        # A table that once waited for the end of its windows may be declared otherwise today.
        self._may_be_open = window is not None

    def process(self, frame: pl.DataFrame, batch: Batch) -> None:
        """Sum up a batch's rows by key and window."""
        if self.emits_on_close and self.floor != NO_TIME:
            frame = frame.with_columns(pl.max_horizontal(WATERMARK, pl.lit(self.floor)).alias(WATERMARK))
        rows = frame.select(self._needed)
        if self._assigner is None:
            self._keep(self._accumulators.partial(_with_time(rows, batch), self._by))
        elif self._assigner.nothing_late(rows):
            panes = self._accumulators.partial(rows.with_columns(self._assigner.pane()), [*self._keys, PANE])
            self._keep(self._assigner.spread(panes).select(*self._by, pl.exclude(self._by)))
        else:
            self._process_carefully(frame, batch, self._assigner)

    def _process_carefully(self, frame: pl.DataFrame, batch: Batch, assigner: WindowAssigner) -> None:
        in_time, late = assigner.assign(frame.with_columns(self._arguments))
        if late.height:
            self._late.add(late, batch)
        if in_time.height:
            self._keep(self._accumulators.partial(in_time, self._by))

    def _keep(self, partial: pl.DataFrame) -> None:
        self._partials.append(partial)
        self._waiting += partial.height

    @property
    def waiting(self) -> int:
        """The partial rows that wait for the commit."""
        return self._waiting

    def flush(self, watermark: int) -> None:
        """Merge the partials into the state (step 2 of the commit); close and expire windows by the stream time.

        `floor` is how far silence has moved time: it closes windows of `emit="close"` tables, and records that come
        for them afterwards are late.
        """
        if self._partials:
            self._merge()
        if self.emits_on_close:
            self._close(max(watermark, self.floor))
        if self.window is not None and self.window.retention is not None:
            self._expire(self.window, self.window.retention, watermark)

    @property
    def emits_on_close(self) -> bool:
        """Tell whether windows wait for their end before readers see them."""
        return self.window is not None and self.window.emit == "close"

    def _merge(self) -> None:
        gathered = self._accumulators.gather(self._partials, self._by, distinct=self._distinct)
        self._partials, self._waiting = [], 0
        windows = gathered[WINDOW].to_list() if self.window else None
        keys = self._encoder.encode_columns([gathered[k].to_list() for k in self._keys], windows)
        stored = self._state.get_many(self.table, keys)
        if self._may_be_open:
            stored = [s[1:] if s is not None and s[:1] == OPEN else s for s in stored]
        states = self._accumulators.merge(stored, gathered)
        if self.emits_on_close:
            self._state.stage(self.table, keys, [OPEN + state for state in states])
        else:
            self._state.stage(self.table, keys, states)
            self._changed(keys, states)

    def _close(self, watermark: int) -> None:
        """Show the windows that can no longer change to readers."""
        bound = self._bound(watermark)
        if bound <= (self._closed or BEGINNING):
            return
        rows = list(self._open_rows(bound))
        self._closed = bound
        if rows:
            keys, states = [k for k, _ in rows], [v[1:] for _, v in rows]
            self._state.stage(self.table, keys, states)
            self._changed(keys, states)

    def would_close(self, watermark: int) -> bool:
        """Tell whether a stream time would close a window that is open now."""
        if not self.emits_on_close or self._bound(watermark) <= (self._closed or BEGINNING):
            return False
        return next(self._open_rows(self._bound(watermark)), None) is not None

    def _bound(self, watermark: int) -> int:
        """Return the start of the first window that a stream time leaves open."""
        assert self.window is not None
        return watermark - self.window.size - self.window.grace + 1

    def _open_rows(self, bound: int) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over the rows that wait in windows that start before `bound`; below the last bound there are none."""
        start, end = self._encoder.window_range(self._closed or BEGINNING, bound)
        rows = self._state.scan(self.table, start, end, uncommitted=True)
        return ((key, value) for key, value in rows if value[:1] == OPEN)

    def _expire(self, window: Window, retention: int, watermark: int) -> None:
        """Remove the windows past their retention, with a tombstone each."""
        bound = (watermark - window.size - retention) // window.step * window.step
        if bound <= (self._expired or BEGINNING):
            return
        start, end = self._encoder.window_range(self._expired or BEGINNING, bound + 1)
        keys = [key for key, _ in self._state.scan(self.table, start, end, uncommitted=True)]
        self._expired = bound
        if keys:
            self._state.stage_range_delete(self.table, start, end, keys)
            self._changed(keys, [None] * len(keys))


def _with_time(rows: pl.DataFrame, batch: Batch) -> pl.DataFrame:
    """Give rows without an event time the stream time: a table without windows takes them all the same.

    Behind a repartition they have that of the task which wrote them, or came before it began.
    """
    return rows.with_columns(pl.coalesce(TIME, WATERMARK if batch.objects is not None else pl.lit(NO_TIME)))
