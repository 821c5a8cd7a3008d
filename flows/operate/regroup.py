"""Declared tables over the rows of another table: a row that changes is taken from its group and added to its group."""

from __future__ import annotations

import polars as pl

from flows.operate.base import NO_TIME, TIME, Batch
from flows.operate.exact import ExactAggregation, Group
from flows.operate.tables import Changed, KeyEncoder, TaskTables, WithoutClosing


class RegroupStep(WithoutClosing):
    """One table in one task; see `TableStep`. A group whose last row goes is removed.

    `sign` names the column that says whether a row comes or goes.
    """

    def __init__(
        self,
        table: str,
        keys: tuple[str, ...],
        sign: str,
        arguments: list[pl.Expr],
        *,
        aggregation: ExactAggregation,
        encoder: KeyEncoder,
        state: TaskTables,
        changed: Changed,
    ) -> None:
        self.table, self._keys = table, keys
        self._needed = [pl.col(sign), pl.col(TIME).fill_null(NO_TIME), *arguments]
        self._aggregation, self._encoder, self._state, self._changed = aggregation, encoder, state, changed
        self._groups: dict[bytes, Group] = {}
        self.floor = NO_TIME

    def process(self, frame: pl.DataFrame, batch: Batch) -> None:
        """Add and subtract a batch's rows."""
        keys = self._encoder.encode_columns([frame[name].to_list() for name in self._keys])
        columns = [column.to_list() for column in frame.select(self._needed)]
        for key, sign, time, *values in zip(keys, *columns, strict=True):
            group = self._groups.get(key)
            if group is None:
                group = self._groups[key] = self._aggregation.nothing()
            group.add(self._aggregation.row(sign, time, values))

    @property
    def waiting(self) -> int:
        """The groups that wait for the commit."""
        return len(self._groups)

    def flush(self, watermark: int) -> None:
        """Bring the changed groups into the state (step 2 of the commit)."""
        groups, self._groups = self._groups, {}
        keys = list(groups)
        changed: dict[bytes, bytes | None] = {}
        for key, stored in zip(keys, self._state.get_many(self.table, keys, uncommitted=True), strict=True):
            group = groups[key]
            if stored is not None:
                group.add(self._aggregation.decode(stored))
            state = self._aggregation.encode(group) if group.rows else None
            if state != stored:
                changed[key] = state
        if changed:
            self._state.stage(self.table, list(changed), list(changed.values()))
            self._changed(list(changed), list(changed.values()))


def without_null_keys_gone(sign: str, keys: tuple[str, ...]) -> pl.Expr:
    """Return what keeps all rows but those that go from a null key: they never came."""
    return (pl.col(sign) > 0) | pl.all_horizontal(pl.col(key).is_not_null() for key in keys)
