"""Time as a thing one can hold: the wall clock in production, a manual one in tests."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any, Protocol

_LATEST = 253_402_300_800.0  # the end of the year 9999


class Clock(Protocol):
    """Give the time; the engine asks no other source."""

    def now(self) -> float:
        """Return the wall time in seconds since the epoch."""

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""


class SystemClock:
    """The machine's clock."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


class ManualClock:
    """A clock that moves only when told.

    >>> clock = ManualClock(100.0)
    >>> clock.advance(5)
    >>> clock.now(), clock.monotonic()
    (105.0, 5.0)
    """

    def __init__(self, now: float = 0.0) -> None:
        self._start = float(now)
        self._elapsed = 0.0  # apart: beside seconds since 1970 a float has no room for less than a microsecond

    def now(self) -> float:
        return self._start + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    def advance(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError(f"a clock never goes back: {seconds}")
        self._elapsed += seconds


def moment(written: Any) -> float:
    """Read a time as seconds since the epoch: a number of them, ISO 8601, or a datetime (UTC where no zone is told).

    Raises ValueError or TypeError.

    >>> moment("1357016400"), moment("2013-01-01T05:00:00")
    (1357016400.0, 1357016400.0)
    """
    if isinstance(written, str):
        try:
            seconds = float(written)
        except ValueError:
            return moment(dt.datetime.fromisoformat(written))
    elif isinstance(written, dt.datetime):
        seconds = (written if written.tzinfo else written.replace(tzinfo=dt.UTC)).timestamp()
    else:
        seconds = float(written)
    if not abs(seconds) < _LATEST:
        raise ValueError(f"{written!r} is no time between the years 1 and 9999")
    return seconds
