"""The aggregates of one table, from rows to stored states: `partial` a batch, `gather` and `merge` a commit.

Whatever way the rows are cut into batches and commits, the states come out the same (float sums to within their
last digits). Frames between the steps have one row a group: the columns that it is grouped by, `$s_time` (the
largest event time) and the gathered columns of the cells, whose names begin with `$s`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat
from operator import is_, itemgetter

import numpy as np
import polars as pl

from dsl.fold import Fold
from dsl.plan.nodes import AggregateCall
from flows.operate.aggregates.cell import Groups
from flows.operate.aggregates.codec import Codec
from flows.operate.aggregates.columns import is_plain, plain
from flows.operate.aggregates.folds import FoldRows
from flows.operate.aggregates.layout import Layout
from flows.operate.base import ROW, TIME

S_TIME = "$s_time"


class Aggregation:
    """Computes the aggregates of a table.

    `inputs` names the argument columns that `partial` expects, `$a0`, `$a1`, …, each with the expression that it
    holds; folds need their functions by name, and the column that `rows` adds. `needs_order` tells that it also wants
    `$partition` and `$offset`.
    """

    def __init__(
        self, calls: Sequence[AggregateCall], folds: Mapping[str, Fold] | None = None, rows: FoldRows | None = None
    ) -> None:
        self.calls = tuple(calls)
        self._rows = rows
        layout = Layout(calls, folds, rows)
        self.inputs = layout.inputs
        self._kinds, self._cells, self._finish = layout.kinds, layout.cells, layout.finish
        self.needs_order = any(cell.needs_order for cell in self._cells)
        self._needs_groups = any(cell.needs_groups for cell in self._cells)
        fields = [field for cell in self._cells for field in cell.fields]
        self._codec = Codec([(S_TIME, pl.Int64), *fields])

    def partial(self, frame: pl.DataFrame, by: list[str]) -> pl.DataFrame:
        """Aggregate the rows of a batch, which have `$time` (microseconds, no nulls) and the `inputs`."""
        changed = [plain(frame[name], kind) for name, kind in self._kinds.items() if not is_plain(frame[name], kind)]
        frame = frame.with_columns(changed) if changed else frame
        frame = frame.hstack([column for cell in self._cells for column in cell.prepare_values(frame)])
        exprs = [expr for cell in self._cells for expr in cell.of_values(frame)]
        groups = self._group(frame, by, [pl.col(TIME).max().alias(S_TIME), *exprs])
        return self._frame(groups, by, [c for cell in self._cells for c in cell.settle_values(groups)])

    def gather(self, partials: list[pl.DataFrame], by: list[str], *, distinct: bool = False) -> pl.DataFrame:
        """Put partials together, one row a group.

        With `distinct` the caller promises that no two rows of *one* partial are of the same group (true of what
        `partial` returns, not of panes spread over hopping windows): a single partial then is the answer as it is.
        """
        if not partials:
            return pl.DataFrame([*(pl.Series(name, [], dtype=pl.Null) for name in by), *self.load([])])
        if distinct and len(partials) == 1:
            return partials[0]
        frame = pl.concat(partials, how="vertical_relaxed") if len(partials) > 1 else partials[0]
        frame = frame.hstack([column for cell in self._cells for column in cell.prepare_states(frame)])
        exprs = [expr for cell in self._cells for expr in cell.of_states(frame)]
        groups = self._group(frame, by, [pl.col(S_TIME).max(), *exprs])
        return self._frame(groups, by, [c for cell in self._cells for c in cell.settle_states(groups)])

    def merge(self, stored: Sequence[bytes | None], gathered: pl.DataFrame) -> list[bytes]:
        """Return the new states: `stored[i]`, None where there is none, with row i of `gathered` added."""
        old = list(filter(None, stored))  # no state is empty
        if not old:
            return self._codec.encode(self._unload(gathered))
        if len(old) == len(stored):
            return self._meet(old, gathered)
        fresh = np.fromiter(map(is_, stored, repeat(None)), np.bool_, len(stored))
        states = self._meet(old, gathered.filter(~fresh)) + self._codec.encode(self._unload(gathered.filter(fresh)))
        places = np.where(fresh, len(old) + np.cumsum(fresh), np.cumsum(~fresh)) - 1
        return list(itemgetter(*places.tolist())(states))

    def forget(self) -> None:
        """Let go of the records that folds waited with: all are merged, or late."""
        if self._rows is not None:
            self._rows.clear()

    def combine(self, first: bytes, second: bytes) -> bytes:
        """Return the state of two groups' records together, those of `first` having come first."""
        return self.merge([first], self.load([second]))[0]

    def load(self, states: Sequence[bytes]) -> pl.DataFrame:
        """Return states as gathered rows, without the columns they were grouped by."""
        fields = self._codec.decode(states)
        return pl.DataFrame([fields[S_TIME], *(c for cell in self._cells for c in cell.load(fields))])

    def results(self, states: Sequence[bytes]) -> pl.DataFrame:
        """Return the result columns by name, in declared order, and `$time`, the latest event time of each group."""
        fields = self._codec.decode(states)
        columns = [finish(fields).alias(call.name) for call, finish in zip(self.calls, self._finish, strict=True)]
        return pl.DataFrame([*columns, fields[S_TIME].alias(TIME)])

    def _group(self, frame: pl.DataFrame, by: list[str], exprs: list[pl.Expr]) -> Groups:
        if self._needs_groups:
            frame = frame.with_columns(pl.Series(ROW, np.arange(frame.height)))
            exprs = [*exprs, pl.col(ROW)]
        return Groups(frame, frame.group_by(by).agg(exprs))

    def _frame(self, groups: Groups, by: list[str], columns: list[pl.Series]) -> pl.DataFrame:
        return pl.DataFrame([*(groups.grouped[name] for name in (*by, S_TIME)), *columns])

    def _unload(self, gathered: pl.DataFrame) -> list[pl.Series]:
        return [gathered[S_TIME], *(column for cell in self._cells for column in cell.unload(gathered))]

    def _meet(self, stored: Sequence[bytes], gathered: pl.DataFrame) -> list[bytes]:
        old = self._codec.decode(stored)
        both = pl.DataFrame([old[S_TIME].alias("old"), gathered[S_TIME].alias("new")])
        time = both.select(pl.max_horizontal("old", "new")).to_series()
        return self._codec.encode([time, *(c for cell in self._cells for c in cell.merge(old, gathered))])
