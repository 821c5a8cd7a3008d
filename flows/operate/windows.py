"""Putting rows into windows, columnar; which are late is judged per record and window, in record order."""

from __future__ import annotations

from math import gcd

import polars as pl

from dsl.window import Window
from flows.operate.base import TIME, WATERMARK, WINDOW

PANE = "$pane"


class WindowAssigner:
    """Give rows their windows.

    A record is late for a window once its end + grace ≤ the stream time as of that record. The cut of a window into
    panes (the greatest common divisor of size and step) lives inside a batch only: rows are summed up per pane before
    they are spread over the windows that share it.
    """

    def __init__(self, window: Window) -> None:
        self.window = window
        self._pane = gcd(window.size, window.step)
        self._count = -(-window.size // window.step)

    def pane(self) -> pl.Expr:
        """The start of the pane of a row."""
        return (pl.col(TIME).floordiv(self._pane) * self._pane).alias(PANE)

    def nothing_late(self, frame: pl.DataFrame) -> bool:
        """Tell quickly whether no row of a batch can be late for any window."""
        earliest = frame[TIME].min()
        latest = frame[WATERMARK][-1]
        assert isinstance(earliest, int)
        first = self.window.starts(earliest)[0]
        return bool(first + self.window.size + self.window.grace > latest)

    def spread(self, panes: pl.DataFrame) -> pl.DataFrame:
        """Copy pane rows into each window that holds the pane, as `$window`."""
        step, size = self.window.step, self.window.size
        last = pl.col(PANE).floordiv(step) * step
        if self._count == 1:
            return panes.with_columns(last.alias(WINDOW)).drop(PANE)
        copies = [panes.with_columns((last - j * step).alias(WINDOW)) for j in range(self._count)]
        spread = pl.concat(copies)
        if size % step:
            spread = spread.filter(pl.col(WINDOW) + size >= pl.col(PANE) + self._pane)
        return spread.drop(PANE)

    def assign(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return (rows in windows that still take them, rows in windows that are closed for them)."""
        rows = self.spread(frame.with_columns(self.pane()))
        closes = pl.col(WINDOW) + (self.window.size + self.window.grace)
        late = rows.select(closes <= pl.col(WATERMARK)).to_series()
        return rows.filter(~late), rows.filter(late)
