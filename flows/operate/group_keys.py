"""Rows that cannot be grouped: refused while the record they came from is still at hand."""

from __future__ import annotations

import polars as pl

from flows.operate.base import ROW, TIME, Batch, DeadLetters

MAX_KEY = 32_768
"""The longest text or bytes that a record may be grouped by."""


def refuse_unkeyed(
    step: str, frame: pl.DataFrame, batch: Batch, keys: tuple[str, ...], needs_time: bool, dead: DeadLetters
) -> pl.DataFrame:
    """Refuse rows that cannot be grouped, and return the rest."""
    frame = _refuse_oversized(step, frame, batch, keys, dead)
    for column in (*keys, TIME) if needs_time else keys:
        if not frame[column].null_count():
            continue
        reason = f"no event time, so no window for {step}" if column == TIME else f"null key {column!r} for {step}"
        for row in frame.filter(pl.col(column).is_null())[ROW].to_list():
            dead.refuse(step, batch.records, row, reason)
        frame = frame.filter(pl.col(column).is_not_null())
    return frame


def _refuse_oversized(
    step: str, frame: pl.DataFrame, batch: Batch, keys: tuple[str, ...], dead: DeadLetters
) -> pl.DataFrame:
    for key in keys:
        if frame.schema[key] not in (pl.String, pl.Binary):
            continue
        column = frame[key]
        sizes = column.str.len_bytes() if column.dtype == pl.String else column.bin.size()
        longest = sizes.max()
        if isinstance(longest, int) and longest > MAX_KEY:
            for row, size in zip(frame[ROW].to_list(), sizes.to_list(), strict=True):
                if size is not None and size > MAX_KEY:
                    reason = f"key {key!r} for {step} has {size} bytes, more than {MAX_KEY}"
                    dead.refuse(step, batch.records, row, reason)
            frame = frame.filter(sizes.fill_null(0) <= MAX_KEY)
    return frame
