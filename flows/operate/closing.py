"""The end of windows: those that wait for it are shown, and those past their retention removed, in order of time.

Both go by the first number of the rows' keys, which says when a window ends: the start of windows of one length, the
last record of a session.
"""

from __future__ import annotations

from collections.abc import Iterator

from flows.operate.tables import Changed, KeyEncoder, TaskTables
from flows.state.base import OPEN

BEGINNING = -(1 << 62)
"""Before all event times, in microseconds."""


class Closing:
    """Close and expire the windows of one table in one task, each once."""

    def __init__(self, table: str, encoder: KeyEncoder, state: TaskTables, changed: Changed) -> None:
        self._table, self._encoder, self._state, self._changed = table, encoder, state, changed
        self._closed, self._expired = BEGINNING, BEGINNING

    def close(self, bound: int) -> None:
        """Show the rows that wait in windows below `bound` to readers."""
        if bound <= self._closed:
            return
        rows = list(self._open_rows(bound))
        self._closed = bound
        if rows:
            keys, states = [k for k, _ in rows], [v[1:] for _, v in rows]
            self._state.stage(self._table, keys, states)
            self._changed(keys, states)

    def would_close(self, bound: int) -> bool:
        """Tell whether a row waits in a window below `bound`."""
        return bound > self._closed and next(self._open_rows(bound), None) is not None

    def _open_rows(self, bound: int) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over the rows that wait in windows below `bound`; below the last bound there are none."""
        start, end = self._encoder.window_range(self._closed, bound)
        rows = self._state.scan(self._table, start, end, uncommitted=True)
        return ((key, value) for key, value in rows if value[:1] == OPEN)

    def expire(self, bound: int) -> None:
        """Remove the windows below `bound`, with a tombstone each."""
        if bound <= self._expired:
            return
        start, end = self._encoder.window_range(self._expired, bound)
        keys = [key for key, _ in self._state.scan(self._table, start, end, uncommitted=True)]
        self._expired = bound
        if keys:
            self._state.stage_range_delete(self._table, start, end, keys)
            self._changed(keys, [None] * len(keys))
