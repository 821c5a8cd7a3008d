"""Which windows of a key are open: one hidden row a key, so that all keys of a commit are found by one look-up.

Under a table's key without its window stands a list of pairs of numbers, 16 bytes each: int64, little-endian. The rows
are kept in a store table of their own, so that readers do not meet them. A key without open windows has no row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from flows.operate.tables import KeyEncoder, TaskTables

GROUP, FIRST, LAST = "$group", "$first", "$last"
"""The number of a key among those asked for; the pair of numbers."""

_PAIR = 16
Pair = tuple[int, int]


class OpenWindows:
    """The open windows of one table's keys, as the commit in progress has them."""

    def __init__(self, table: str, encoder: KeyEncoder, state: TaskTables, window_bytes: int) -> None:
        self._table, self._encoder, self._state, self._window_bytes = table, encoder, state, window_bytes

    def keys(self, groups: pl.DataFrame) -> list[bytes]:
        """Return the bytes of keys, one a row of key columns."""
        return self._encoder.encode_columns([column.to_list() for column in groups])

    def frame(self, keys: Sequence[bytes]) -> pl.DataFrame:
        """Return the open windows as rows: the key's place in `keys` and the pair."""
        found = self._state.get_many(self._table, list(keys), uncommitted=True)
        lengths = [0 if row is None else len(row) // _PAIR for row in found]
        pairs = np.frombuffer(b"".join(filter(None, found)), "<i8").reshape(-1, 2).astype(np.int64)
        groups = np.repeat(np.arange(len(keys)), lengths)
        return pl.DataFrame({GROUP: groups, FIRST: pairs[:, 0], LAST: pairs[:, 1]})

    def lists(self, keys: Sequence[bytes]) -> list[list[Pair]]:
        """Return the open windows of each key."""
        found = self._state.get_many(self._table, list(keys), uncommitted=True)
        return [[] if row is None else _pairs(row) for row in found]

    def put(self, keys: Sequence[bytes], windows: pl.DataFrame) -> None:
        """Keep what is open now: rows as of `frame`; keys without a row have none."""
        ordered = windows.sort(GROUP, FIRST, LAST)
        lengths = np.bincount(ordered[GROUP].to_numpy(), minlength=len(keys)) * _PAIR
        data = ordered.select(FIRST, LAST).to_numpy(order="c").astype("<i8").tobytes()
        ends = np.cumsum(lengths)
        rows = [data[end - length : end] or None for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)]
        self._state.stage(self._table, list(keys), rows)

    def drop(self, windows: Iterable[bytes], bound: int) -> None:
        """Forget the windows whose last number lies below `bound`, of the keys that these windows' rows have."""
        keys = list({key[self._window_bytes :] for key in windows})
        if keys:
            left = self.frame(keys)
            self.put(keys, left.filter(left[LAST] >= bound))

    def earliest_end(self) -> int | None:
        """Return the smallest last number of all, None where no window is open."""
        rows = self._state.scan(self._table, b"", b"\xff", uncommitted=True)
        return min((last for _, row in rows for _, last in _pairs(row)), default=None)


def numbered_keys(frame: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Return the different keys of a frame, with their places as `$group`."""
    return (
        frame.select(keys).unique(maintain_order=True).with_row_index(GROUP).with_columns(pl.col(GROUP).cast(pl.Int64))
    )


def _pairs(row: bytes) -> list[Pair]:
    return [(first, last) for first, last in np.frombuffer(row, "<i8").reshape(-1, 2).tolist()]
