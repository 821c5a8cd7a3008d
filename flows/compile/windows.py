"""From a table's window to the operator that keeps it, how its keys are laid out, and the bounds that its rows show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import polars as pl

from dsl.plan.nodes import AggregateNode
from dsl.window import AnyWindow, CalendarWindow, CountWindow, FixedWindow, SessionWindow, SlidingWindow
from flows.compile.names import ENDS, INDEX, POINTS
from flows.operate.aggregate import AggregateStep
from flows.operate.base import WINDOW
from flows.operate.counted import CountStep
from flows.operate.open_windows import OpenWindows
from flows.operate.session import SessionStep
from flows.operate.sliding import SlidingStep
from flows.operate.telling import MergingStep
from flows.operate.windows import cut_of
from flows.state.keys import KeyCodec

Bounds = Callable[[Sequence[bytes]], dict[str, list[Any]]]
"""The columns that windows show, from encoded keys: bounds in seconds since the epoch."""

START, END, NUMBER = "window_start", "window_end", "window_number"


def numbers_of(window: AnyWindow | None) -> int:
    """Return how many numbers stand before the key in the rows of a table."""
    if window is None:
        return 0
    return 2 if isinstance(window, SessionWindow | CountWindow) else 1


def table_step(node: AggregateNode, arguments: list[pl.Expr], key_types: tuple[Any, ...], **parts: Any) -> MergingStep:
    """Build the operator of a table; `parts` are what all kinds take."""
    parts["encoder"] = KeyCodec(key_types, numbers_of(node.window))
    window, codec = node.window, parts["encoder"]
    opened = OpenWindows(node.table + INDEX, KeyCodec(key_types), parts["state"], codec.window_bytes)
    if isinstance(window, SessionWindow):
        return SessionStep(node.table, node.keys, window, arguments, open_windows=opened, **parts)
    if isinstance(window, SlidingWindow):
        points = node.table + POINTS
        return SlidingStep(node.table, node.keys, window, arguments, points=points, open_windows=opened, **parts)
    if isinstance(window, CountWindow):
        return CountStep(node.table, node.keys, window, arguments, ends=node.table + ENDS, open_windows=opened, **parts)
    return AggregateStep(node.table, node.keys, window, arguments, **parts)


def start_place(window: AnyWindow | None) -> int:
    """Return which of the numbers before a key is the start of its window."""
    return 1 if isinstance(window, SessionWindow) else 0


def bounds_of(window: AnyWindow, codec: KeyCodec) -> Bounds:
    """Return how the bounds of windows are read from keys. The ends of count windows are not in their keys."""
    if isinstance(window, SessionWindow):
        return lambda keys: {START: seconds(codec.numbers(keys, 1)), END: seconds(codec.numbers(keys))}
    if isinstance(window, CountWindow):
        return lambda keys: {START: seconds(codec.numbers(keys)), NUMBER: codec.numbers(keys, 1)}
    ends = _ends(window)

    def bounds(keys: Sequence[bytes]) -> dict[str, list[Any]]:
        starts = codec.numbers(keys)
        return {START: seconds(starts), END: seconds(ends(starts))}

    return bounds


def seconds(times: Iterable[int]) -> list[float]:
    """Return microseconds as seconds."""
    return [time / 1_000_000 for time in times]


def _ends(window: FixedWindow | CalendarWindow | SlidingWindow) -> Callable[[list[int]], list[int]]:
    if not isinstance(window, CalendarWindow):
        size = window.difference if isinstance(window, SlidingWindow) else window.size
        return lambda starts: [start + size for start in starts]
    ends = cut_of(window).ends
    return lambda starts: ends(pl.DataFrame({WINDOW: starts}, schema={WINDOW: pl.Int64})).to_list()
