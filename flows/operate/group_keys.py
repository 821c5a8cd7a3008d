"""Rows that cannot be grouped: refused while the record they came from is still at hand."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from flows.operate.base import ROW, TIME, Batch, DeadLetters

MAX_KEY = 32_768
"""The longest text or bytes that a record may be grouped by."""

Text = tuple[str, pl.Expr, int]
"""A text that a table keeps: its name, its expression, and the most bytes that it may have."""


def refuse_unkeyed(
    step: str, frame: pl.DataFrame, batch: Batch, keys: tuple[str, ...], needs_time: bool, dead: DeadLetters
) -> pl.DataFrame:
    """Refuse rows that cannot be grouped, and return the rest."""
    for key in keys:
        frame = _refuse_longer(step, frame, batch, frame[key], (f"key {key!r}", MAX_KEY), dead)
    for column in (*keys, TIME) if needs_time else keys:
        if not frame[column].null_count():
            continue
        reason = f"no event time, so no window for {step}" if column == TIME else f"null key {column!r} for {step}"
        for row in frame.filter(pl.col(column).is_null())[ROW].to_list():
            dead.refuse(step, batch.records, row, reason)
        frame = frame.filter(pl.col(column).is_not_null())
    return frame


def refuse_oversized(
    step: str, frame: pl.DataFrame, batch: Batch, texts: Sequence[Text], dead: DeadLetters
) -> pl.DataFrame:
    """Refuse rows with a text or bytes that are too long, and return the rest."""
    for name, expr, most in texts:
        frame = _refuse_longer(step, frame, batch, frame.select(expr).to_series(), (name, most), dead)
    return frame


def _refuse_longer(
    step: str, frame: pl.DataFrame, batch: Batch, column: pl.Series, bound: tuple[str, int], dead: DeadLetters
) -> pl.DataFrame:
    name, most = bound
    # None of them is longer than all together; of a small batch that is known without going through it.
    if column.dtype not in (pl.String, pl.Binary) or column.estimated_size() <= most:
        return frame
    sizes = column.str.len_bytes() if column.dtype == pl.String else column.bin.size()
    longest = sizes.max()
    if not isinstance(longest, int) or longest <= most:
        return frame
    for row, size in zip(frame[ROW].to_list(), sizes.to_list(), strict=True):
        if size is not None and size > most:
            dead.refuse(step, batch.records, row, f"{name} for {step} has {size} bytes, more than {most}")
    return frame.filter(sizes.fill_null(0) <= most)
