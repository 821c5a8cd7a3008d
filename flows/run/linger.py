"""How long a task that has done a small batch lets the next one gather: little while there is time, more when not."""

from __future__ import annotations

from time import perf_counter, thread_time

MOST = 0.05
"""Seconds that a record waits at most for others to come."""

_MOST_BY_COST = 0.02
_LEAST = 0.001
_LOOK_EVERY = 0.1
_BUSY = 0.6
"""The share of its time that the event loop's thread may work before batches are made larger."""


class Linger:
    """One pause for all tasks of a worker, fitted to how busy the event loop's thread was.

    A batch costs the same few milliseconds for one record as for a hundred: its requests, its steps. A worker with time
    to spare takes each record as it comes; one that is short of it lets them gather. Where each batch is committed,
    most of what it costs is the brokers', of whose time nothing is known here: `by_cost` waits as long as it took.

    >>> linger = Linger()
    >>> linger.fit(busy=1.0)
    >>> linger.seconds > 0.001
    True
    """

    def __init__(self, *, by_cost: bool = False) -> None:
        self._by_cost = by_cost
        self.seconds = _LEAST
        self._looked, self._worked = perf_counter(), thread_time()

    def after(self, took: float) -> float:
        """Return the seconds to pause after a small batch that took so long; what costs nothing need not wait."""
        if self._by_cost:
            return min(_MOST_BY_COST, took)
        now = perf_counter()
        if now - self._looked >= _LOOK_EVERY:
            worked = thread_time()
            self.fit((worked - self._worked) / (now - self._looked))
            self._looked, self._worked = now, worked
        return min(self.seconds, 2 * took)

    def fit(self, busy: float) -> None:
        """Fit the pause to the share of time, from 0 to 1, that the thread worked."""
        self.seconds = min(MOST, max(_LEAST, self.seconds * min(2.0, max(0.5, busy / _BUSY))))
