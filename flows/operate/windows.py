"""Putting rows into windows that begin at set times, columnar; lateness is judged per record and window, in order."""

from __future__ import annotations

from math import gcd
from typing import Protocol

import numpy as np
import polars as pl

from dsl.window import CalendarWindow, FixedWindow
from flows.operate.base import TIME, WATERMARK, WINDOW
from flows.operate.calendar import Calendar, Ints

PANE = "$pane"


class Cut(Protocol):
    """How time is cut into panes, and which windows hold a pane."""

    is_single: bool
    """Whether each pane is in one window only."""

    def panes(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Add the column `$pane`: rows of one pane are in the same windows."""

    def spread(self, panes: pl.DataFrame) -> pl.DataFrame:
        """Copy pane rows into each window that holds the pane, as `$window`, its start."""

    def ends(self, windows: pl.DataFrame) -> pl.Series:
        """Return the ends of the windows of rows."""

    def first_end(self, time: int) -> int:
        """Return the first end of the windows that hold a time."""

    def first_open(self, time: int) -> int:
        """Return a start before which all windows have ended at a time (end ≤ time), and from which on none has."""


class FixedCut:
    """Windows of one length. A pane is as long as the greatest common divisor of size and step."""

    def __init__(self, window: FixedWindow) -> None:
        self._size, self._step, self._offset = window.size, window.step, window.offset
        self._pane = gcd(window.size, window.step)
        self._count = -(-window.size // window.step)
        self.is_single = self._count == 1

    def panes(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(self._floor(pl.col(TIME), self._pane).alias(PANE))

    def spread(self, panes: pl.DataFrame) -> pl.DataFrame:
        last = self._floor(pl.col(PANE), self._step)
        if self.is_single:
            return panes.with_columns(last.alias(WINDOW)).drop(PANE)
        spread = pl.concat([panes.with_columns((last - j * self._step).alias(WINDOW)) for j in range(self._count)])
        if self._size % self._step:
            spread = spread.filter(pl.col(WINDOW) + self._size >= pl.col(PANE) + self._pane)
        return spread.drop(PANE)

    def ends(self, windows: pl.DataFrame) -> pl.Series:
        return windows[WINDOW] + self._size

    def first_end(self, time: int) -> int:
        return self.first_open(time) + self._size

    def first_open(self, time: int) -> int:
        return ((time - self._offset - self._size) // self._step + 1) * self._step + self._offset

    def _floor(self, time: pl.Expr, length: int) -> pl.Expr:
        if not self._offset:
            return time.floordiv(length) * length
        return (time - self._offset).floordiv(length) * length + self._offset


class CalendarCut:
    """Windows of whole days, weeks or months. A pane is one such period, by its number."""

    def __init__(self, window: CalendarWindow) -> None:
        self._calendar = Calendar(window)
        self._size, self._step = window.size, window.step
        self._count = -(-window.size // window.step)
        self.is_single = self._count == 1

    def panes(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(pl.Series(PANE, self._calendar.numbers(rows[TIME].to_numpy())))

    def spread(self, panes: pl.DataFrame) -> pl.DataFrame:
        last = pl.col(PANE).floordiv(self._step) * self._step
        spread = pl.concat([panes.with_columns((last - j * self._step).alias(WINDOW)) for j in range(self._count)])
        if self._size % self._step:
            spread = spread.filter(pl.col(WINDOW) + self._size > pl.col(PANE))
        starts = self._starts(spread[WINDOW].to_numpy())
        if not self.is_single:
            # Where a zone skipped whole days, a window that begins with them is the next one.
            after = self._starts(spread[WINDOW].to_numpy() + self._step)
            spread, starts = spread.filter(starts < after), starts[starts < after]
        return spread.with_columns(pl.Series(WINDOW, starts)).drop(PANE)

    def ends(self, windows: pl.DataFrame) -> pl.Series:
        return pl.Series(self._starts(self._calendar.numbers(windows[WINDOW].to_numpy()) + self._size))

    def first_end(self, time: int) -> int:
        return self._calendar.start(self._first_open(self._calendar.number(time)) + self._size)

    def first_open(self, time: int) -> int:
        return self._calendar.start(self._first_open(self._calendar.number(time)))

    def _first_open(self, current: int) -> int:
        """Return the first window whose last period is `current` or a later one."""
        return -(-(current - self._size + 1) // self._step) * self._step

    def _starts(self, numbers: Ints) -> Ints:
        found, back = np.unique(numbers, return_inverse=True)
        return np.array([self._calendar.start(n) for n in found.tolist()], np.int64)[back]


def cut_of(window: FixedWindow | CalendarWindow) -> Cut:
    """Return how a window cuts time."""
    return CalendarCut(window) if isinstance(window, CalendarWindow) else FixedCut(window)


class WindowAssigner:
    """Give rows their windows. A record is late for a window once its end + grace ≤ the stream time as of that record.

    Panes live inside a batch only: rows are summed up per pane before they are spread over the windows that share it.
    """

    def __init__(self, cut: Cut, grace: int) -> None:
        self.cut, self._grace = cut, grace

    def nothing_late(self, frame: pl.DataFrame) -> bool:
        """Tell quickly whether no row of a batch can be late for any window."""
        earliest, latest = frame[TIME].min(), frame[WATERMARK][-1]
        assert isinstance(earliest, int)
        return bool(self.cut.first_end(earliest) + self._grace > latest)

    def assign(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return (rows in windows that still take them, rows in windows that are closed for them)."""
        rows = self.cut.spread(self.cut.panes(frame))
        late = self.cut.ends(rows) + self._grace <= rows[WATERMARK]
        return rows.filter(~late), rows.filter(late)
