"""Periods of the calendar as people write them: `"1d"`, `"2w"`, `"1mo"`, `"1q"`, `"1y"`, in a time zone."""

from __future__ import annotations

import re
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from dsl.durations import Duration
from dsl.errors import DeclarationError, nearest

_PERIOD = re.compile(r"\s*(\d+)\s*(d|w|mo|q|y)\s*")
_UNITS = {"d": ("day", 1), "w": ("week", 1), "mo": ("month", 1), "q": ("month", 3), "y": ("month", 12)}
SHORT = {"day": "d", "week": "w", "month": "mo"}
LONGEST = {"day": 1, "week": 7, "month": 28}
"""Days that each unit has at least."""


class Period(NamedTuple):
    """A number of days, weeks or months."""

    number: int
    unit: str


def calendar_period(value: Duration | None, tz: str | None) -> Period | None:
    """Read a period of the calendar; None for what is a plain duration.

    Months, quarters and years are always periods, days and weeks where a time zone says whose.

    >>> calendar_period("1q", None), calendar_period("2w", "Europe/Berlin"), calendar_period("2w", None)
    (Period(number=3, unit='month'), Period(number=2, unit='week'), None)
    """
    found = _PERIOD.fullmatch(value) if isinstance(value, str) else None
    if found is None or (tz is None and found[2] in "dw"):
        return None
    unit, times = _UNITS[found[2]]
    return Period(int(found[1]) * times, unit)


def in_one_unit(size: Period, step: Period) -> tuple[Period, Period] | None:
    """Bring two periods to the same unit; None where a step of weeks or months does not lead there."""
    if size.unit == step.unit:
        return size, step
    if (size.unit, step.unit) == ("week", "day"):
        return Period(size.number * 7, "day"), step
    if (size.unit, step.unit) == ("day", "week") and size.number % 7 == 0:
        return Period(size.number // 7, "week"), step
    return None


def check_zone(tz: str) -> str:
    """Return the name of a time zone of the IANA database; raises `DeclarationError` where there is none."""
    try:
        return ZoneInfo(tz).key
    except (KeyError, ValueError, OSError, TypeError):
        known = available_timezones()
        hint = "" if known else "; no time zones are installed here: pip install tzdata"
        raise DeclarationError(
            f'tz={tz!r} is no time zone: write one of the IANA database, such as "Europe/Berlin" or "UTC"{hint}.',
            suggestion=nearest(tz, known) if isinstance(tz, str) else None,
        ) from None
