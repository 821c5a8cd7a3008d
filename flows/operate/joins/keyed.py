"""Which rows can be joined."""

from __future__ import annotations

import polars as pl

from flows.operate.base import ROW, TIME, Batch, DeadLetters, FrameStep
from flows.operate.group_keys import MAX_KEY, refuse_oversized


def side_rows(step: str, keys: tuple[str, ...], is_kept: bool, dead: DeadLetters, then: FrameStep) -> FrameStep:
    """Pass on the rows of a side of a join in a window.

    A row without an event time, or with too long a key, is refused. One with a null key matches nothing: where all
    rows of the side are in the result (`is_kept`) it is passed on, else skipped and counted.
    """
    texts = [(f"key {key!r}", pl.col(key), MAX_KEY) for key in keys]
    has_keys = pl.all_horizontal(pl.col(key).is_not_null() for key in keys)

    def run(frame: pl.DataFrame, batch: Batch) -> None:
        frame = refuse_oversized(step, frame, batch, texts, dead)
        if frame[TIME].null_count():
            for row in frame.filter(pl.col(TIME).is_null())[ROW].to_list():
                dead.refuse(step, batch.records, row, f"no event time, so no window for {step}")
            frame = frame.filter(pl.col(TIME).is_not_null())
        if not is_kept and any(frame[key].null_count() for key in keys):
            for row in frame.filter(~has_keys)[ROW].to_list():
                dead.refuse(step, batch.records, row, f"null key for {step}", on_error="skip")
            frame = frame.filter(has_keys)
        if frame.height:
            then(frame, batch)

    return run
