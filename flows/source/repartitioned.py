"""Reading an internal repartition topic: rows of columns, with their producers' stream time.

A record's value is a msgpack array `[producer partition, its stream time, event time or nil, source offset, columns…]`;
a marker, without key, is `[producer partition, its stream time, idle]`. Times are microseconds. The record's own
timestamp is the wall clock, so that retention never depends on event times.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import polars as pl

from flows.brokers.base import Records, TopicPartition
from flows.operate.base import NO_TIME, Batch, Times, meta_columns
from flows.source.watermarks import Watermark, advance_producers, hear_marker

_many = msgspec.msgpack.Decoder(list[list[Any]])
_row = msgspec.msgpack.Decoder(list[Any])
_marker = msgspec.msgpack.Decoder(tuple[int, int, bool])


class RepartitionSource:
    """One partition of a repartition topic as the task behind it reads it."""

    def __init__(self, tp: TopicPartition, columns: dict[str, Any], producers: int) -> None:
        self.tp, self.columns, self.producers = tp, columns, producers
        self.watermark = Watermark()

    def read(self, records: Records, wants_frame: bool) -> Batch:
        """Turn records into a batch of columns; markers only move time."""
        keys = records.keys
        if None not in keys:
            return self._rows(records)
        batches = []
        start = 0
        for i in [i for i, key in enumerate(keys) if key is None]:
            if i > start:
                batches.append(self._rows(records.take(range(start, i))))
            producer, time, idle = _marker.decode(records.values[i] or b"")
            hear_marker(self.watermark, producer, time, idle, self.producers)
            start = i + 1
        if start < len(keys):
            batches.append(self._rows(records.take(range(start, len(keys)))))
        return _join(records, batches) if batches else self._empty(records)

    def peek_times(self, records: Records) -> Times:
        """Return the event times of records without taking them; `NO_TIME` for markers and rows without one."""
        heads = (
            None if k is None else _row.decode(v or b"")[2] for k, v in zip(records.keys, records.values, strict=True)
        )
        return np.array([NO_TIME if time is None else time for time in heads], dtype=np.int64)

    def _rows(self, records: Records) -> Batch:
        values = b"".join(records.values)  # type: ignore[arg-type]
        rows = _many.decode(b"\xdd" + len(records).to_bytes(4, "big") + values)
        producers, marks, times, offsets, *columns = (list(c) for c in zip(*rows, strict=True))
        event = np.array([NO_TIME if t is None else t for t in times], dtype=np.int64)
        running = advance_producers(
            self.watermark, np.array(producers, dtype=np.int64), np.array(marks, dtype=np.int64), self.producers
        )
        series = [pl.Series(n, c, dtype=t) for (n, t), c in zip(self.columns.items(), columns, strict=True)]
        frame = pl.DataFrame([*series, *meta_columns(event, running, producers, offsets)])
        return Batch(records, None, event, running, frame)

    def _empty(self, records: Records) -> Batch:
        none = np.empty(0, dtype=np.int64)
        frame = pl.DataFrame([*(pl.Series(n, [], dtype=t) for n, t in self.columns.items())])
        return Batch(records.take([]), None, none, none, frame.with_columns(meta_columns(none, none, [], [])))


def _join(records: Records, batches: list[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    frames = [b.frame for b in batches if b.frame is not None]
    times = np.concatenate([b.times for b in batches])
    frame = pl.concat(frames).with_columns(pl.Series("$row", np.arange(len(times), dtype=np.int64)))
    kept = records.take([i for i, key in enumerate(records.keys) if key is not None])
    return Batch(kept, None, times, np.concatenate([b.watermarks for b in batches]), frame)
