"""Days, weeks and months of time zones, against the clocks of the standard library."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.window import CalendarWindow
from flows.operate.calendar import Calendar

HOUR = 3_600_000_000
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "America/Sao_Paulo", "Pacific/Apia", "Asia/Beirut"]
TIMES = st.integers(-(10**15), 4 * 10**15)


def calendar(unit: str, tz: str, offset: int = 0) -> Calendar:
    return Calendar(CalendarWindow(unit=unit, size=1, step=1, tz=tz, offset=offset))


def at(text: str, tz: str = "UTC") -> int:
    return (dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(tz)) - EPOCH) // dt.timedelta(microseconds=1)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("unit", ["day", "week", "month"])
@given(st.lists(TIMES, min_size=1, max_size=20), st.integers(0, 23))
def test_every_time_is_in_the_period_between_its_start_and_the_next(
    zone: str, unit: str, times: list[int], hours: int
) -> None:
    found = calendar(unit, zone, hours * HOUR)
    numbers = found.numbers(np.array(times, np.int64)).tolist()
    for time, number in zip(times, numbers, strict=True):
        assert found.start(number) <= time < found.start(number + 1)
        assert found.number(time) == number


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "America/Sao_Paulo"])
@given(TIMES)
def test_days_and_months_are_those_that_the_clocks_show(zone: str, time: int) -> None:
    day = (EPOCH + dt.timedelta(microseconds=time)).astimezone(ZoneInfo(zone)).date()
    assert calendar("day", zone).number(time) == (day - EPOCH.date()).days
    assert calendar("month", zone).number(time) == (day.year - 1970) * 12 + day.month - 1
    week = calendar("week", zone)
    begin = (EPOCH + dt.timedelta(microseconds=week.start(week.number(time)))).astimezone(ZoneInfo(zone))
    assert (begin.weekday(), begin.date()) == (0, day - dt.timedelta(days=day.weekday()))


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2024-03-31", 23),
        ("Europe/Berlin", "2024-10-27", 25),
        ("Europe/Berlin", "2024-06-01", 24),
        ("America/Sao_Paulo", "2018-11-04", 23),  # midnight itself was skipped
        ("Pacific/Apia", "2011-12-30", 0),  # the whole day was skipped
        ("Pacific/Apia", "2011-12-31", 24),
    ],
)
def test_days_are_as_long_as_the_clocks_make_them(zone: str, day: str, hours: int) -> None:
    found = calendar("day", zone)
    number = (dt.date.fromisoformat(day) - EPOCH.date()).days
    assert found.start(number + 1) - found.start(number) == hours * HOUR


def test_an_offset_is_by_the_clocks_there() -> None:
    six = calendar("day", "Europe/Berlin", 6 * HOUR)
    number = six.number(at("2024-03-31T05:59", "Europe/Berlin"))
    assert six.start(number) == at("2024-03-30T06:00", "Europe/Berlin")
    assert six.start(number + 1) == at("2024-03-31T06:00", "Europe/Berlin")
    assert six.start(number + 1) - six.start(number) == 23 * HOUR


@pytest.mark.parametrize("unit", ["day", "week", "month"])
def test_times_beyond_the_years_that_python_knows(unit: str) -> None:
    found = calendar(unit, "Europe/Berlin")
    for time in (-(10**18), 10**18):
        assert found.start(found.number(time)) <= time < found.start(found.number(time) + 1)
