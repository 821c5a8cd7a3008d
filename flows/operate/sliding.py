"""Declared tables by sliding windows: one for each set of a key's records that lie within a time difference.

A window's row lies under `[start][key]`, its end being start + difference, inclusive. Beside it the table keeps, for as
long as a window may still need them, the aggregates of the records of each event time (*points*), and per key a list of
these times.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from dsl.window import SlidingWindow
from flows.operate.base import NO_TIME, OFFSET, PARTITION, TIME, WATERMARK, WINDOW, Batch
from flows.operate.closing import BEGINNING, Closing, reached
from flows.operate.open_windows import FIRST, GROUP, LAST, OpenWindows, numbered_keys
from flows.operate.points import Ints, Points, Windows, changed_windows, pairs
from flows.operate.tables import Accumulators, Changed, KeyEncoder, LateRows, TaskTables
from flows.state.base import OPEN

_NUMBER, _WAVE = "$number", "$wave"


class SlidingStep:
    """One table of sliding windows in one task; see `TableStep`."""

    def __init__(
        self,
        table: str,
        keys: tuple[str, ...],
        window: SlidingWindow,
        arguments: list[pl.Expr],
        *,
        accumulators: Accumulators,
        encoder: KeyEncoder,
        state: TaskTables,
        points: str,
        open_windows: OpenWindows,
        late: LateRows,
        changed: Changed,
        forgotten: Changed,
    ) -> None:
        self.table, self._points, self._window = table, points, window
        self._keys, self._by, self._arguments = list(keys), [*keys, WINDOW], arguments
        self._accumulators, self._encoder, self._state, self._open = accumulators, encoder, state, open_windows
        self._late, self._changed = late, changed
        self._closing = Closing(table, encoder, state, changed, forgotten)
        self._past = Closing(points, encoder, state, changed, lambda keys, states: None)
        order = [PARTITION, OFFSET] if accumulators.needs_order else []
        self._needed = [*map(pl.col, keys), pl.col(TIME), *map(pl.col, order), *arguments]
        self._partials: list[pl.DataFrame] = []
        self._waiting = 0
        self._waits = window.emit == "close"
        self.floor = NO_TIME

    def process(self, frame: pl.DataFrame, batch: Batch) -> None:
        """Sum up a batch's rows by key and event time."""
        if self._waits and self.floor != NO_TIME:
            frame = frame.with_columns(pl.max_horizontal(WATERMARK, pl.lit(self.floor)).alias(WATERMARK))
        # All windows that hold a record end at its time or later: where this does not hold, all of them are open.
        behind = frame[TIME] + self._window.grace < frame[WATERMARK]
        if not behind.any():
            self._keep(frame)
            return
        late = frame.filter(behind)
        self._late.add(late.with_columns((pl.col(TIME) - self._window.difference).alias(WINDOW)), batch)
        keys = late.select(self._keys).unique()
        self._keep(frame.join(keys, on=self._keys, how="anti", maintain_order="left"))
        self._merge()
        marked = frame.with_columns(behind.alias("$behind"))
        self._in_waves(marked.join(keys, on=self._keys, how="semi", maintain_order="left"))

    def _keep(self, frame: pl.DataFrame) -> None:
        self._partials.append(self._partial(frame))
        self._waiting += self._partials[-1].height

    def _partial(self, frame: pl.DataFrame) -> pl.DataFrame:
        rows = frame.select(*self._needed, pl.col(TIME).alias(WINDOW))
        return self._accumulators.partial(rows, self._by)

    def _in_waves(self, frame: pl.DataFrame) -> None:
        """Take rows of keys that have late ones in order: a late one by itself, those between two late ones at once."""
        late = pl.col("$behind")
        cut = (late | late.shift(fill_value=False)).cast(pl.Int64).cum_sum().over(self._keys)
        reach = self._window.difference + self._window.grace
        waves = frame.with_columns(cut.alias(_WAVE)).filter(~late | (pl.col(TIME) + reach >= pl.col(WATERMARK)))
        for _, wave in sorted(waves.partition_by(_WAVE, as_dict=True).items()):
            times = wave.group_by(self._keys).agg(
                pl.when(late.any()).then(pl.col(WATERMARK).max()).otherwise(BEGINNING).alias(WATERMARK)
            )
            self._apply(self._partial(wave), times)

    @property
    def waiting(self) -> int:
        """The partial rows that wait for the commit."""
        return self._waiting

    def flush(self, watermark: int) -> None:
        """Merge the partials into the state (step 2 of the commit); close and expire windows by the stream time."""
        self._merge()
        self._accumulators.forget()
        bound = self._bound(max(watermark, self.floor) if self._waits else watermark)
        if self._waits:
            self._closing.close(bound)
        self._open.drop(self._past.expire(bound - 1), bound - 1)
        if self._window.retention is not None and watermark != NO_TIME:
            self._closing.expire(watermark - self._window.difference - self._window.retention)

    def catch_up(self) -> None:
        """Bring all that came into the state, for one who reads it between commits."""
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
        """Return the first start of a window that a stream time leaves open."""
        return BEGINNING if watermark <= BEGINNING else watermark - self._window.difference - self._window.grace

    def _merge(self) -> None:
        if self._waiting:
            partials, self._partials, self._waiting = self._partials, [], 0
            self._apply(self._accumulators.gather(partials, self._by, distinct=True), None)

    def _apply(self, fresh: pl.DataFrame, times: pl.DataFrame | None) -> None:
        """Add fresh points, one a row, to all open windows that hold them; `times` are the keys' stream times."""
        groups = numbered_keys(fresh, self._keys)
        names = self._open.keys(groups.drop(GROUP))
        fresh = fresh.join(groups, on=self._keys, how="left", nulls_equal=True).sort(GROUP, WINDOW)
        open_from = np.full(groups.height, BEGINNING, np.int64)
        if times is not None:
            found = groups.join(times, on=self._keys, how="left", nulls_equal=True, maintain_order="left")
            open_from = np.array([self._bound(w) for w in found[WATERMARK].to_list()], np.int64)
        known = self._open.frame(names)
        old = Points(known[GROUP].to_numpy(), known[FIRST].to_numpy())
        new = Points(fresh[GROUP].to_numpy(), fresh[WINDOW].to_numpy())
        windows = changed_windows(new, old, self._window.difference, open_from)
        self._write(windows, old, new, fresh.drop(*self._by, GROUP), groups)
        self._write_points(new, fresh, groups)
        both = old.joined(new)
        self._open.put(names, pl.DataFrame({GROUP: both.groups, FIRST: both.times, LAST: both.times}))

    def _write(self, windows: Windows, old: Points, new: Points, fresh: pl.DataFrame, groups: pl.DataFrame) -> None:
        """Add the fresh points to the windows that exist, and make the others from all of their points."""
        keys = self._row_keys(groups, windows.groups, windows.starts)
        stored = self._state.get_many(self.table, keys, uncommitted=True)
        stored = [s[1:] if s is not None and s[:1] == OPEN else s for s in stored]
        is_new = np.array([s is None for s in stored], np.bool_)
        of_window, of_point = pairs(*new.within(windows, self._window.difference))
        pieces = [fresh[of_point].with_columns(pl.Series(_NUMBER, of_window))]
        low, high = old.within(windows, self._window.difference)
        of_window, of_point = pairs(low, np.where(is_new, high, low))
        if len(of_point):
            chosen, places = np.unique(of_point, return_inverse=True)
            states = self._stored_points(groups, old.groups[chosen], old.times[chosen])
            loaded = self._accumulators.load([state for state in states if state is not None])
            pieces.insert(0, loaded.select(fresh.columns)[places].with_columns(pl.Series(_NUMBER, of_window)))
        gathered = self._accumulators.gather(pieces, [_NUMBER])
        numbers = gathered[_NUMBER].to_list()
        changed = [keys[n] for n in numbers]
        found = self._accumulators.merge([stored[n] for n in numbers], gathered)
        if self._waits:
            self._state.stage(self.table, changed, [OPEN + state for state in found])
        else:
            self._state.stage(self.table, changed, found)
            self._changed(changed, found)

    def _write_points(self, new: Points, fresh: pl.DataFrame, groups: pl.DataFrame) -> None:
        stored = self._stored_points(groups, new.groups, new.times)
        states = self._accumulators.merge(stored, fresh)
        self._state.stage(self._points, self._row_keys(groups, new.groups, new.times), states)

    def _stored_points(self, groups: pl.DataFrame, numbers: Ints, times: Ints) -> list[bytes | None]:
        return self._state.get_many(self._points, self._row_keys(groups, numbers, times), uncommitted=True)

    def _row_keys(self, groups: pl.DataFrame, numbers: Ints, starts: Ints) -> list[bytes]:
        chosen = groups.select(self._keys)[numbers.tolist()]
        return self._encoder.encode_columns([column.to_list() for column in chosen], starts.tolist())
