"""The end of windows: those that wait for it are shown, and those past their retention removed, in order of time.

Both go by the first number of the rows' keys, which says when a window ends: the start of windows of one length, the
last record of a session.
"""

from __future__ import annotations

from flows.operate.base import NO_TIME
from flows.operate.tables import Changed, KeyEncoder, TaskTables
from flows.state.base import OPEN, Rows

BEGINNING = -(1 << 62)
"""Before all event times, in microseconds."""
END = 1 << 62
"""After all of them."""


def reached(bound: int) -> int:
    """Return the stream time of changes that come in windows from `bound` on."""
    return NO_TIME if bound <= BEGINNING else bound


class Closing:
    """Close and expire the windows of one table in one task, each once.

    `changed` is told of rows that readers see now, `forgotten` of those that are kept no longer.
    """

    def __init__(
        self, table: str, encoder: KeyEncoder, state: TaskTables, changed: Changed, forgotten: Changed
    ) -> None:
        self._table, self._encoder, self._state = table, encoder, state
        self._changed, self._forgotten = changed, forgotten
        self._closed, self.expired = BEGINNING, BEGINNING

    def begin(self, bound: int) -> None:
        """Take all windows below `bound` as closed."""
        self._closed = bound

    def close(self, bound: int) -> list[bytes]:
        """Show the rows that wait in windows below `bound` to readers; return the keys of all that ended since."""
        if bound <= self._closed:
            return []
        rows = list(self._ending(bound))
        self._closed = bound
        waiting = [(key, value[1:]) for key, value in rows if value[:1] == OPEN]
        if waiting:
            keys, states = [k for k, _ in waiting], [v for _, v in waiting]
            self._state.stage(self._table, keys, states)
            self._changed(keys, states)
        return [key for key, _ in rows]

    def would_close(self, bound: int) -> bool:
        """Tell whether a row waits in a window below `bound`."""
        return bound > self._closed and any(value[:1] == OPEN for _, value in self._ending(bound))

    def is_waiting(self) -> bool:
        """Tell whether a row waits in any window."""
        return self.would_close(END)

    def _ending(self, bound: int) -> Rows:
        """Iterate over the rows of windows below `bound`; below the last bound none is open."""
        start, end = self._encoder.window_range(self._closed, bound)
        return self._state.scan(self._table, start, end, uncommitted=True)

    def expire(self, bound: int) -> list[bytes]:
        """Remove the windows below `bound`, with a tombstone each; return their keys."""
        if bound <= self.expired:
            return []
        start, end = self._encoder.window_range(self.expired, bound)
        keys = [key for key, _ in self._state.scan(self._table, start, end, uncommitted=True)]
        self.expired = bound
        if keys:
            self._state.stage_range_delete(self._table, start, end, keys)
            self._forgotten(keys, [None] * len(keys))
        return keys
