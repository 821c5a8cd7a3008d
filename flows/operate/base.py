"""What steps hand to each other: a batch of decoded records with their times, and the frame of their columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from flows.brokers.base import Headers, Records

Times = npt.NDArray[np.int64]

NO_TIME = int(np.iinfo(np.int64).min)
"""The event time of a record that has none, and the watermark before the first record."""

TIME, WATERMARK, PARTITION, OFFSET, ROW, WINDOW = "$time", "$watermark", "$partition", "$offset", "$row", "$window"
META = (TIME, WATERMARK, PARTITION, OFFSET, ROW)


class Batch:
    """Decoded records of one input partition, in offset order.

    `objects` are the values (None where columns came from an internal topic), `times` their event times and
    `watermarks` the stream time as of each record, in microseconds. `frame` holds the columns that steps asked
    for, with the meta columns `$time` (null where there is none), `$watermark`, `$partition` and `$offset` (of the
    record's first topic) and `$row` (its place in this batch). `triggers` are the turns of the round at which the
    records came, or that the rows which a step made are due to; None for the turns from 0 on. `passed` is the stream
    time as of each record that was read, where some that move time are not in the batch.
    """

    __slots__ = ("frame", "objects", "passed", "records", "times", "triggers", "watermarks")

    def __init__(
        self,
        records: Records,
        objects: Sequence[Any] | None,
        times: Times,
        watermarks: Times,
        frame: pl.DataFrame | None = None,
    ) -> None:
        self.records, self.objects = records, objects
        self.times, self.watermarks, self.frame = times, watermarks, frame
        self.triggers: Times | None = None
        self.passed: Times | None = None

    def __len__(self) -> int:
        return len(self.times)


def meta_columns(times: Times, watermarks: Times, partitions: Any, offsets: Any) -> list[pl.Series]:
    """Build the meta columns of a frame; `partitions` and `offsets` are scalars or sequences."""
    rows = pl.Series(ROW, np.arange(len(times), dtype=np.int64))
    time = pl.Series(TIME, times)
    if len(times) and times.min() == NO_TIME:
        time = time.set(time == NO_TIME, None)
    return [
        time,
        pl.Series(WATERMARK, watermarks),
        _column(PARTITION, partitions, len(times)),
        _column(OFFSET, offsets, len(times)),
        rows,
    ]


def _column(name: str, values: Any, length: int) -> pl.Series:
    if isinstance(values, int):
        return pl.Series(name, np.full(length, values, dtype=np.int64))
    if isinstance(values, range):
        return pl.Series(name, np.arange(values.start, values.stop, values.step, dtype=np.int64))
    return pl.Series(name, values, dtype=pl.Int64)


def triggers_of(frame: pl.DataFrame, batch: Batch) -> Times:
    """Return the turns that the rows of a frame are due to."""
    rows: Times = frame[ROW].to_numpy()
    return rows if batch.triggers is None else batch.triggers[rows]


FrameStep = Callable[[pl.DataFrame, Batch], None]
"""Takes a frame (rows of the batch that are left) and passes on what it makes of it."""


class DeadLetters(Protocol):
    """Where refused records go, by the topic's or agent's `on_error`."""

    def refuse(self, step: str, records: Records, row: int, reason: str, *, on_error: str = "dead-letter") -> None:
        """Dead-letter one record, count it (`skip`), or raise (`stop`)."""


class Outputs(Protocol):
    """Where records for topics gather until the commit."""

    def append(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, timestamp: int, headers: Headers = ()
    ) -> None: ...
