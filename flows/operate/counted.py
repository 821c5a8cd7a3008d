"""Declared tables by count windows: each n records of a key, in the order in which they come.

A window's row lies under `[first record's event time][number][key]`. Beside it the table keeps of each key how many
records there were and when its last window began; with a retention, also the ends of complete windows, in order.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from dsl.window import CountWindow
from flows.operate.aggregates.aggregation import S_TIME
from flows.operate.base import NO_TIME, OFFSET, PARTITION, TIME, WINDOW, Batch
from flows.operate.closing import Closing
from flows.operate.open_windows import FIRST, GROUP, LAST, OpenWindows, numbered_keys
from flows.operate.tables import Accumulators, Changed, KeyEncoder, LateRows, TaskTables, WithoutClosing
from flows.state.base import OPEN

_NUMBER, _PLACE = "$number", "$place"
_WINDOW_BYTES = 16


class CountStep(WithoutClosing):
    """One table of count windows in one task; see `TableStep`. No record is late, and no time closes a window."""

    def __init__(
        self,
        table: str,
        keys: tuple[str, ...],
        window: CountWindow,
        arguments: list[pl.Expr],
        *,
        accumulators: Accumulators,
        encoder: KeyEncoder,
        state: TaskTables,
        ends: str,
        open_windows: OpenWindows,
        late: LateRows,
        changed: Changed,
        forgotten: Changed,
    ) -> None:
        self.table, self._ends, self._window, self._size = table, ends, window, window.records
        self._keys, self._by, self._arguments = list(keys), [*keys, WINDOW, _NUMBER], arguments
        self._accumulators, self._encoder, self._state, self._open = accumulators, encoder, state, open_windows
        self._changed, self._forgotten = changed, forgotten
        self._past = Closing(ends, encoder, state, changed, lambda keys, states: None)
        order = [PARTITION, OFFSET] if accumulators.needs_order else []
        self._needed = [*map(pl.col, keys), pl.col(TIME), *map(pl.col, order), *arguments]
        self._partials: list[pl.DataFrame] = []
        self._waiting = 0
        # Of the keys of this commit: how many records there were, and when the last window began.
        self._counts: dict[bytes, tuple[int, int]] = {}
        self.floor = NO_TIME

    def process(self, frame: pl.DataFrame, batch: Batch) -> None:
        """Sum up a batch's rows by key and window."""
        groups = numbered_keys(frame, self._keys)
        names = self._open.keys(groups.drop(GROUP))
        self._know(names)
        before = np.array([self._counts[name] for name in names], np.int64).reshape(-1, 2)
        rows = frame.select(self._needed).join(
            groups, on=self._keys, how="left", nulls_equal=True, maintain_order="left"
        )
        group = rows[GROUP].to_numpy()
        count = before[group, 0] + rows.select(pl.int_range(pl.len()).over(GROUP)).to_series().to_numpy()
        number = count // self._size
        rows = rows.with_columns(pl.Series(_NUMBER, number))
        starts = rows.select(pl.col(TIME).first().over(GROUP, _NUMBER)).to_series().to_numpy()
        goes_on = number * self._size < before[group, 0]
        rows = rows.with_columns(pl.Series(WINDOW, np.where(goes_on, before[group, 1], starts)))
        self._partials.append(self._accumulators.partial(rows.drop(GROUP), self._by))
        self._waiting += self._partials[-1].height
        last = pl.DataFrame({GROUP: group, FIRST: count + 1, LAST: rows[WINDOW]}).group_by(GROUP).last()
        self._counts.update({names[g]: (total, start) for g, total, start in last.iter_rows()})

    def _know(self, names: list[bytes]) -> None:
        """Read the counts of keys that this commit has not met yet."""
        unknown = [name for name in names if name not in self._counts]
        if unknown:
            self._counts.update(zip(unknown, (p[0] if p else (0, 0) for p in self._open.lists(unknown)), strict=True))

    @property
    def waiting(self) -> int:
        """The partial rows that wait for the commit."""
        return self._waiting

    def flush(self, watermark: int) -> None:
        """Merge the partials into the state (step 2 of the commit), and remove what is kept no longer."""
        if self._waiting:
            self._merge()
        self._accumulators.forget()
        if self._window.retention is not None and watermark != NO_TIME:
            self._expire(watermark - self._window.retention)

    def catch_up(self) -> None:
        """Bring all that came into the state, for one who reads it between commits."""
        if self._waiting:
            self._merge()

    def _merge(self) -> None:
        gathered = self._accumulators.gather(self._partials, self._by, distinct=True)
        self._partials, self._waiting = [], 0
        numbers = gathered[_NUMBER].to_list()
        columns = [gathered[name].to_list() for name in self._keys]
        keys = self._encoder.encode_columns(columns, gathered[WINDOW].to_list(), numbers)
        stored = self._state.get_many(self.table, keys, uncommitted=True)
        stored = [s[1:] if s is not None and s[:1] == OPEN else s for s in stored]
        states = self._accumulators.merge(stored, gathered)
        totals = [self._counts[key[_WINDOW_BYTES:]][0] for key in keys]
        complete = [total >= (n + 1) * self._size for total, n in zip(totals, numbers, strict=True)]
        if self._window.emit == "close":
            rows = list(zip(keys, states, complete, strict=True))
            self._state.stage(self.table, keys, [state if done else OPEN + state for _, state, done in rows])
            self._changed([key for key, _, done in rows if done], [state for _, state, done in rows if done])
        else:
            self._state.stage(self.table, keys, states)
            self._changed(keys, states)
        names = list(self._counts)
        counts = np.array([self._counts[name] for name in names], np.int64)
        self._open.put(names, pl.DataFrame({GROUP: np.arange(len(names)), FIRST: counts[:, 0], LAST: counts[:, 1]}))
        self._counts = {}
        if self._window.retention is not None:
            self._keep_ends(keys, states, complete, columns, numbers)

    def _keep_ends(
        self,
        keys: list[bytes],
        states: list[bytes],
        complete: list[bool],
        columns: list[list[object]],
        numbers: list[int],
    ) -> None:
        """Note when complete windows ended: under `[largest event time][number][key]` their row's key."""
        ends = self._accumulators.load(states)[S_TIME].to_list()
        found = self._encoder.encode_columns(columns, ends, numbers)
        rows = [(end, name, key) for end, name, key, done in zip(ends, found, keys, complete, strict=True) if done]
        kept = [(name, key) for end, name, key in rows if end >= self._past.expired]
        self._state.stage(self._ends, [name for name, _ in kept], [key for _, key in kept])
        self._forget([key for end, _, key in rows if end < self._past.expired])

    def _expire(self, bound: int) -> None:
        """Remove complete windows that ended before `bound` or at it."""
        start, end = self._encoder.window_range(self._past.expired, bound + 1)
        keys = [key for _, key in self._state.scan(self._ends, start, end, uncommitted=True)]
        self._past.expire(bound + 1)
        self._forget(keys)

    def _forget(self, keys: list[bytes]) -> None:
        if keys:
            self._state.stage(self.table, keys, [None] * len(keys))
            self._forgotten(keys, [None] * len(keys))
