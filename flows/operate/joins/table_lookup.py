"""Joining the rows of a stream with those that a table has for their keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from flows.operate.base import ROW, TIME, Batch, DeadLetters, Times, triggers_of
from flows.operate.tables import KeyEncoder

Row = tuple[Any, ...]

Find = Callable[[list[bytes], Sequence[int | None], Times], list[Row | None]]
"""Returns the rows of keys, as of event times and turns."""


class TableLookup:
    """Join the rows of a stream with those of a table. `columns` are the added ones with their types."""

    def __init__(
        self,
        step: str,
        keys: tuple[str, ...],
        columns: dict[str, Any],
        is_inner: bool,
        *,
        encoder: KeyEncoder,
        find: Find,
        dead: DeadLetters,
        then: Callable[[pl.DataFrame, Batch], None],
    ) -> None:
        self._step, self._keys, self._columns, self._is_inner = step, keys, columns, is_inner
        self._encoder, self._find, self._dead, self._then = encoder, find, dead, then
        self._nothing = (None,) * len(columns)

    def process(self, frame: pl.DataFrame, batch: Batch) -> None:
        """Look the batch's rows up; one with a null key finds nothing."""
        columns = [frame[k].to_list() for k in self._keys]
        asked = [place for place, parts in enumerate(zip(*columns, strict=True)) if None not in parts]
        found: list[Row | None] = [None] * frame.height
        if asked:
            keys = self._encoder.encode_columns([[column[place] for place in asked] for column in columns])
            times, turns = frame[TIME].to_list(), triggers_of(frame, batch)
            rows = self._find(keys, [times[p] for p in asked], turns[asked])
            for place, row in zip(asked, rows, strict=True):
                found[place] = row
        if self._is_inner:
            if len(asked) < frame.height:
                known = set(asked)
                for place, row in enumerate(frame[ROW].to_list()):
                    if place not in known:
                        self._dead.refuse(self._step, batch.records, row, f"null key for {self._step}", on_error="skip")
            kept = [place for place, row in enumerate(found) if row is not None]
            frame, found = frame[kept], [found[place] for place in kept]
        if not frame.height:
            return
        values = zip(*(self._nothing if row is None else row for row in found), strict=True)
        added = [pl.Series(n, list(v), dtype=t) for (n, t), v in zip(self._columns.items(), values, strict=True)]
        self._then(frame.with_columns(added), batch)
