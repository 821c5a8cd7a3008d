"""The calendar of a time zone in numbers: which day, week or month an event time is in, and when each begins.

Periods are counted from the one that holds 1970-01-01. A period begins at the first moment at which the clocks there
show its first midnight plus the offset; where they skip that, as long after the skip. So periods differ in length, and
each event time is in exactly one.
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from dsl.window import CalendarWindow

Ints = npt.NDArray[np.int64]

_DAY = 86_400_000_000
_EPOCH = dt.datetime(1970, 1, 1)
_FIRST, _LAST = (dt.date.min.toordinal() - _EPOCH.toordinal() + 2, dt.date.max.toordinal() - _EPOCH.toordinal() - 2)
_MONDAY = -3
"""The day that the week of the epoch, a Thursday, began with."""


class Calendar:
    """Days, weeks or months of a time zone, as numbers."""

    def __init__(self, window: CalendarWindow) -> None:
        self._zone, self._unit, self._offset = ZoneInfo(window.tz), window.unit, window.offset
        self._day_starts = lru_cache(1 << 16)(self._day_start)

    def number(self, time: int) -> int:
        """Return the period that holds an event time in microseconds."""
        return int(self.numbers(np.array([time], np.int64))[0])

    def numbers(self, times: Ints) -> Ints:
        """Return the periods that hold event times."""
        rough, back = np.unique((times - self._offset) // _DAY, return_inverse=True)
        # No zone is a day or more away from UTC, so the day there is this one or one of its neighbours.
        begins, next_begins = (np.array([self._day_starts(d + n) for d in rough.tolist()], np.int64) for n in (0, 1))
        days = rough[back] - 1 + (times >= begins[back]) + (times >= next_begins[back])
        if self._unit == "month":
            return days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
        return (days - _MONDAY) // 7 if self._unit == "week" else days

    def start(self, number: int) -> int:
        """Return when a period begins, in microseconds since the epoch."""
        if self._unit == "month":
            day = int(np.datetime64(number, "M").astype("datetime64[D]").astype(np.int64))
        else:
            day = number * 7 + _MONDAY if self._unit == "week" else number
        return self._day_starts(day)

    def _day_start(self, day: int) -> int:
        """Return the first moment at which the clocks show the midnight of a day plus the offset."""
        local = day * _DAY + self._offset
        # Python knows the years 1 to 9999; beyond them the clocks stay as they are at their ends.
        near = min(max(local // _DAY, _FIRST), _LAST) * _DAY + local % _DAY
        there = (_EPOCH + dt.timedelta(microseconds=near)).replace(tzinfo=self._zone)
        offset = there.utcoffset()
        assert offset is not None
        return local - offset // dt.timedelta(microseconds=1)
