"""Which windows hold an event time, by trying; in microseconds."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple
from zoneinfo import ZoneInfo

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Windows(NamedTuple):
    """Windows `[start, end)` of one length."""

    size: int
    step: int
    grace: int = 0
    retention: int | None = None
    closes: bool = False
    offset: int = 0

    def starts(self, time: int) -> list[int]:
        """Try every multiple of the step near the time."""
        near = time // self.step
        reach = self.size // self.step + 2
        tried = [s * self.step + self.offset for s in range(near - reach, near + 2)]
        return [s for s in tried if s <= time < s + self.size]

    def end(self, start: int) -> int:
        return start + self.size


class CalendarWindows(NamedTuple):
    """Windows of whole days, weeks or months (of a zone that never skips a midnight), `hours` after it."""

    unit: str
    size: int
    step: int
    tz: str
    grace: int = 0
    retention: int | None = None
    closes: bool = False
    hours: int = 0

    def starts(self, time: int) -> list[int]:
        """Try all periods from some before the epoch on."""
        today = (EPOCH + dt.timedelta(microseconds=time)).astimezone(ZoneInfo(self.tz)).date()
        tried = (self._begin(n) for n in range(self._near(today) - self.size - 2, self._near(today) + 3))
        return [s for n, s in tried if n % self.step == 0 and s <= time < self.end(s)]

    def end(self, start: int) -> int:
        """Go on by so many periods from a start."""
        day = (EPOCH + dt.timedelta(microseconds=start)).astimezone(ZoneInfo(self.tz)).date()
        return next(s for n, s in map(self._begin, [self._near(day) + self.size]))

    def _near(self, day: dt.date) -> int:
        if self.unit == "month":
            return (day.year - 1970) * 12 + day.month - 1
        days = (day - EPOCH.date()).days
        return (days + 3) // 7 if self.unit == "week" else days

    def _begin(self, number: int) -> tuple[int, int]:
        if self.unit == "month":
            day = dt.date(1970 + number // 12, number % 12 + 1, 1)
        else:
            day = EPOCH.date() + dt.timedelta(days=number * 7 - 3 if self.unit == "week" else number)
        begin = dt.datetime.combine(day, dt.time(self.hours), ZoneInfo(self.tz))
        return number, (begin - EPOCH) // dt.timedelta(microseconds=1)
