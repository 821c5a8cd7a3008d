"""Durations as people write them: `"1h30m"`, seconds, or a timedelta; microseconds inside."""

from __future__ import annotations

import datetime as dt
import math
import re
from fractions import Fraction

from dsl.errors import DeclarationError

Duration = str | int | float | dt.timedelta

_UNITS = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000,
          "w": 604_800_000_000}  # fmt: skip
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d|w)")


def microseconds(value: Duration, what: str = "duration") -> int:
    """Turn a duration into whole microseconds.

    >>> microseconds("1h30m"), microseconds(0.5), microseconds(dt.timedelta(seconds=2))
    (5400000000, 500000, 2000000)

    Raises `DeclarationError` naming `what` when the value is no duration.
    """
    if isinstance(value, dt.timedelta):
        return round(value / dt.timedelta(microseconds=1))
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return round(value * 1_000_000)
    if isinstance(value, str):
        text = value.strip()
        parts = _PART.findall(text)
        if parts and not _PART.sub("", text).strip():
            return round(sum(Fraction(number) * _UNITS[unit] for number, unit in parts))
    raise DeclarationError(
        f'{what} {value!r} is no duration: write "10s", "1h30m" (us ms s m h d w), seconds, or a timedelta.'
    )


def show(us: int) -> str:
    """Print microseconds in the largest whole units: `5_400_000_000` as `1h30m`."""
    if us == 0:
        return "0s"
    out, rest = "", us
    for unit in ("d", "h", "m", "s", "ms", "us"):
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            out += f"{count}{unit}"
    return out
