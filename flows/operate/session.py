"""Declared tables by session: records of a key with no more than a gap between one and the next.

Rows lie under `[last record][first record][key]`, in the order in which sessions close. A session that grows or merges
moves: the rows that it was are removed, then the new one is written.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from dsl.window import SessionWindow
from flows.operate.aggregates.aggregation import S_TIME
from flows.operate.base import NO_TIME, OFFSET, PARTITION, TIME, WATERMARK, WINDOW, Batch
from flows.operate.closing import BEGINNING, Closing, reached
from flows.operate.open_windows import FIRST, GROUP, LAST, OpenWindows, numbered_keys
from flows.operate.sessions import SESSION, cut, follow, join
from flows.operate.tables import Accumulators, Changed, KeyEncoder, LateRows, TaskTables
from flows.state.base import OPEN


class SessionStep:
    """One table of sessions in one task; see `TableStep`."""

    def __init__(
        self,
        table: str,
        keys: tuple[str, ...],
        window: SessionWindow,
        arguments: list[pl.Expr],
        *,
        accumulators: Accumulators,
        encoder: KeyEncoder,
        state: TaskTables,
        open_windows: OpenWindows,
        late: LateRows,
        changed: Changed,
        forgotten: Changed,
    ) -> None:
        self.table, self._window = table, window
        self._keys, self._arguments = list(keys), arguments
        self._accumulators, self._encoder, self._state, self._open = accumulators, encoder, state, open_windows
        self._late, self._changed = late, changed
        self._closing = Closing(table, encoder, state, changed, forgotten)
        order = [PARTITION, OFFSET] if accumulators.needs_order else []
        self._needed = [*map(pl.col, keys), pl.col(TIME), *map(pl.col, order), *arguments]
        self._partials: list[pl.DataFrame] = []
        self._waiting = 0
        self._waits = window.emit == "close"
        self._is_fresh = True
        self.floor = NO_TIME

    def process(self, frame: pl.DataFrame, batch: Batch) -> None:
        """Sum up a batch's rows by key and session."""
        if self._waits and self.floor != NO_TIME:
            frame = frame.with_columns(pl.max_horizontal(WATERMARK, pl.lit(self.floor)).alias(WATERMARK))
        earliest = frame[WATERMARK].min()
        assert isinstance(earliest, int)
        self._begin(self._bound(earliest))
        # The sessions in reach of a record have seen one at `time - gap` or later: all are open but where this holds.
        behind = frame.filter(pl.col(TIME) + self._window.grace < pl.col(WATERMARK))
        if not behind.height:
            self._keep(frame)
            return
        keys = behind.select(self._keys).unique()
        self._keep(frame.join(keys, on=self._keys, how="anti", maintain_order="left"))
        self._merge()
        self._follow(frame.join(keys, on=self._keys, how="semi", maintain_order="left"), batch)

    def _keep(self, frame: pl.DataFrame) -> None:
        rows = cut(frame.select(self._needed), self._keys, self._window.gap)
        self._partials.append(self._accumulators.partial(rows, [*self._keys, WINDOW]))
        self._waiting += self._partials[-1].height

    @property
    def waiting(self) -> int:
        """The partial rows that wait for the commit."""
        return self._waiting

    def flush(self, watermark: int) -> None:
        """Merge the partials into the state (step 2 of the commit); close and expire sessions by the stream time."""
        self._merge()
        self._accumulators.forget()
        bound = self._bound(max(watermark, self.floor) if self._waits else watermark)
        self._begin(bound)
        self._open.drop(self._closing.close(bound), bound)
        if self._window.retention is not None and watermark != NO_TIME:
            self._closing.expire(watermark - self._window.gap - self._window.retention)

    def catch_up(self) -> None:
        """Bring all that came into the state, for one who reads it between commits."""
        self._merge()

    def would_close(self, watermark: int) -> bool:
        """Tell whether a stream time would close a session that is open now."""
        bound = self._bound(watermark)
        self._begin(bound)
        return self._waits and self._closing.would_close(bound)

    def is_waiting(self) -> bool:
        """Tell whether any window waits for its end."""
        return self._waits and self._closing.is_waiting()

    def reached(self, watermark: int) -> int:
        """Return the stream time of the table's changes."""
        return reached(self._bound(max(watermark, self.floor))) if self._waits else watermark

    def _begin(self, bound: int) -> None:
        """Let closing begin at the first session that is open, or may be made: an earlier run closed all before it."""
        if self._is_fresh:
            self._is_fresh = False
            earliest = self._open.earliest_end()
            self._closing.begin(bound if earliest is None else min(bound, earliest))

    def _bound(self, watermark: int) -> int:
        """Return the last record of the first session that a stream time leaves open."""
        return BEGINNING if watermark == NO_TIME else watermark - self._window.gap - self._window.grace

    def _merge(self) -> None:
        """Join the partials with each other and with the open sessions in their reach."""
        if not self._waiting:
            return
        pending = pl.concat(self._partials, how="vertical_relaxed")
        self._partials, self._waiting = [], 0
        groups = numbered_keys(pending, self._keys)
        names = self._open.keys(groups.drop(GROUP))
        stored = self._open.frame(names)
        pending = pending.join(groups, on=self._keys, how="left", nulls_equal=True, maintain_order="left")
        spans = pending.select(GROUP, pl.col(WINDOW).alias(FIRST), pl.col(S_TIME).alias(LAST))
        joined = join(pl.concat([spans, stored]), self._window.gap)
        mine, theirs = joined[: spans.height], joined[spans.height :]
        taken = theirs.filter(theirs[SESSION].is_in(mine[SESSION].unique().implode()))
        partials = pending.drop(*self._keys, WINDOW, GROUP).with_columns(mine[SESSION])
        grown = self._store(partials, pl.concat([taken, mine]), taken, groups)
        untouched = theirs.join(taken, on=[GROUP, FIRST, LAST], how="anti")
        self._open.put(names, pl.concat([untouched, grown]))

    def _follow(self, frame: pl.DataFrame, batch: Batch) -> None:
        """Follow the sessions of keys record by record."""
        groups = numbered_keys(frame, self._keys)
        names = self._open.keys(groups.drop(GROUP))
        numbered = frame.join(groups, on=self._keys, how="left", nulls_equal=True, maintain_order="left")
        records: list[list[tuple[int, int, int]]] = [[] for _ in names]
        columns = (numbered[name].to_list() for name in (GROUP, TIME, WATERMARK))
        for place, (group, time, now) in enumerate(zip(*columns, strict=True)):
            records[group].append((place, time, now))
        session = np.full(frame.height, -1, np.int64)
        spans, taken, left, count = [], [], [], 0
        for group, (stored, rows) in enumerate(zip(self._open.lists(names), records, strict=True)):
            found = follow(stored, rows, self._window.gap, self._window.grace)
            for span in found.sessions:
                session[span.rows] = count
                spans.append((group, span.first, span.last, count))
                taken += [(group, *pair, count) for pair in span.stored]
                count += 1
            left += [(group, *pair, -1) for pair in found.open]
        late = frame.filter(session < 0)
        if late.height:
            self._late.add(late.with_columns(pl.col(TIME).alias(WINDOW)), batch)
        if spans:
            rows_in = frame.select(self._needed).with_columns(pl.Series(SESSION, session)).filter(session >= 0)
            partials = self._accumulators.partial(rows_in, [SESSION])
            self._store(partials, _spans(spans), _spans(taken), groups)
        self._open.put(names, _spans(left))

    def _store(
        self, partials: pl.DataFrame, spans: pl.DataFrame, taken: pl.DataFrame, groups: pl.DataFrame
    ) -> pl.DataFrame:
        """Put partials by session together with the stored rows that they took; return the new spans."""
        old_keys = self._row_keys(taken, groups)
        old = [value for value in self._state.get_many(self.table, old_keys, uncommitted=True) if value is not None]
        states = [value[1:] if value[:1] == OPEN else value for value in old]
        pieces = [partials]
        if states:
            loaded = self._accumulators.load(states).with_columns(taken[SESSION])
            pieces.insert(0, loaded.select(partials.columns))
        gathered = self._accumulators.gather(pieces, [SESSION])
        firsts = spans.group_by(SESSION).agg(pl.col(GROUP).first(), pl.col(FIRST).min())
        grown = gathered.select(SESSION, pl.col(S_TIME).alias(LAST)).join(
            firsts, on=SESSION, how="left", maintain_order="left"
        )
        keys = self._row_keys(grown, groups)
        new = self._accumulators.merge([None] * len(keys), gathered)
        gone = list(set(old_keys).difference(keys))
        if self._waits:
            self._state.stage(self.table, [*gone, *keys], [*[None] * len(gone), *[OPEN + state for state in new]])
        else:
            self._state.stage(self.table, [*gone, *keys], [*[None] * len(gone), *new])
            self._changed([*gone, *keys], [*[None] * len(gone), *new])
        return grown.select(spans.columns)

    def _row_keys(self, spans: pl.DataFrame, groups: pl.DataFrame) -> list[bytes]:
        chosen: Sequence[pl.Series] = list(groups.select(self._keys)[spans[GROUP].to_list()])
        return self._encoder.encode_columns(
            [column.to_list() for column in chosen], spans[LAST].to_list(), spans[FIRST].to_list()
        )


def _spans(rows: list[tuple[int, int, int, int]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys((GROUP, FIRST, LAST, SESSION), pl.Int64), orient="row")
