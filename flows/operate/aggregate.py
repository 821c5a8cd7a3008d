"""Declared tables without windows or with windows that begin at set times.

Rows become partial aggregates at once, and meet the stored state once a commit.
"""

from __future__ import annotations

import polars as pl

from dsl.window import CalendarWindow, FixedWindow
from flows.operate.base import NO_TIME, OFFSET, PARTITION, TIME, WATERMARK, WINDOW, Batch
from flows.operate.closing import BEGINNING, Closing, reached
from flows.operate.tables import Accumulators, Changed, KeyEncoder, LateRows, TaskTables
from flows.operate.windows import PANE, WindowAssigner, cut_of
from flows.state.base import OPEN


class AggregateStep:
    """One declared table in one task.

    Only terminal tables are built so: nothing in the task reads them between commits.
    """

    def __init__(
        self,
        table: str,
        keys: tuple[str, ...],
        window: FixedWindow | CalendarWindow | None,
        arguments: list[pl.Expr],
        *,
        accumulators: Accumulators,
        encoder: KeyEncoder,
        state: TaskTables,
        late: LateRows,
        changed: Changed,
        forgotten: Changed,
    ) -> None:
        self.table, self._window = table, window
        self._keys, self._arguments = keys, arguments
        self._accumulators, self._encoder, self._state = accumulators, encoder, state
        self._late, self._changed = late, changed
        self._by = [*keys, WINDOW] if window else list(keys)
        self._assigner = WindowAssigner(cut_of(window), window.grace) if window else None
        self._closing = Closing(table, encoder, state, changed, forgotten)
        order = [PARTITION, OFFSET] if accumulators.needs_order else []
        self._needed = [*map(pl.col, keys), pl.col(TIME), pl.col(WATERMARK), *map(pl.col, order), *arguments]
        # Rows without an event time are given the stream time: a table without windows takes them all the same. Behind
        # a repartition they have that of the task which wrote them, or came before it began.
        rest = self._needed[: len(keys)] + self._needed[len(keys) + 2 :]
        self._timed_here = [*rest, pl.coalesce(TIME, WATERMARK)]
        self._timed_behind = [*rest, pl.coalesce(TIME, pl.lit(NO_TIME))]
        self._partials: list[pl.DataFrame] = []
        self._waiting = 0
        # Panes of a hopping window give several partial rows a group, everything else one.
        self._distinct = self._assigner is None or self._assigner.cut.is_single
        self._waits = window is not None and window.emit == "close"
        self.floor = NO_TIME
        # A table that once waited for the end of its windows may be declared otherwise today.
        self._may_be_open = window is not None

    def process(self, frame: pl.DataFrame, batch: Batch) -> None:
        """Sum up a batch's rows by key and window."""
        if self._waits and self.floor != NO_TIME:
            frame = frame.with_columns(pl.max_horizontal(WATERMARK, pl.lit(self.floor)).alias(WATERMARK))
        if self._assigner is None:
            timed = self._timed_here if batch.objects is not None else self._timed_behind
            self._keep(self._accumulators.partial(frame.select(timed), self._by))
            return
        rows = frame.select(self._needed)
        if self._assigner.nothing_late(rows):
            cut = self._assigner.cut
            panes = self._accumulators.partial(cut.panes(rows), [*self._keys, PANE])
            self._keep(cut.spread(panes).select(*self._by, pl.exclude(self._by)))
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
        """Merge the partials into the state (step 2 of the commit); close and expire windows by the stream time."""
        if self._partials:
            self._merge()
        self._accumulators.forget()
        window = self._window
        if window is None or self._assigner is None:
            return
        if self._waits:
            self._closing.close(self._bound(max(watermark, self.floor)))
        if window.retention is not None and watermark != NO_TIME:
            self._closing.expire(self._assigner.cut.first_open(watermark - window.retention))

    def catch_up(self) -> None:
        """Bring all that came into the state, for one who reads it between commits."""
        if self._partials:
            self._merge()

    def would_close(self, watermark: int) -> bool:
        """Tell whether a stream time would close a window that is open now."""
        return self._waits and self._closing.would_close(self._bound(watermark))

    def is_waiting(self) -> bool:
        """Tell whether any window waits for its end."""
        return self._waits and self._closing.is_waiting()

    def reached(self, watermark: int) -> int:
        """Return the stream time of the table's changes."""
        return reached(self._bound(max(watermark, self.floor))) if self._waits else watermark

    def _bound(self, watermark: int) -> int:
        """Return the start of the first window that a stream time leaves open."""
        assert self._window is not None
        assert self._assigner is not None
        return BEGINNING if watermark == NO_TIME else self._assigner.cut.first_open(watermark - self._window.grace)

    def _merge(self) -> None:
        gathered = self._accumulators.gather(self._partials, self._by, distinct=self._distinct)
        self._partials, self._waiting = [], 0
        windows = [gathered[WINDOW].to_list()] if self._window else []
        keys = self._encoder.encode_columns([gathered[k].to_list() for k in self._keys], *windows)
        stored = self._state.get_many(self.table, keys, uncommitted=True)
        if self._may_be_open:
            stored = [s[1:] if s is not None and s[:1] == OPEN else s for s in stored]
        states = self._accumulators.merge(stored, gathered)
        if self._waits:
            self._state.stage(self.table, keys, [OPEN + state for state in states])
        else:
            self._state.stage(self.table, keys, states)
            self._changed(keys, states)
