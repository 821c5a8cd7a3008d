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
from flows.operate.base import NO_TIME, ROW, Batch, Times, meta_columns
from flows.source.watermarks import Watermark, advance_producers, hear_marker

_many = msgspec.msgpack.Decoder(list[list[Any]])
_row = msgspec.msgpack.Decoder(list[Any])

_HEAD, _IDLE = 4, 2


class RepartitionSource:
    """One partition of a repartition topic as the task behind it reads it."""

    def __init__(self, tp: TopicPartition, columns: dict[str, Any], producers: int) -> None:
        self.tp, self.columns, self.producers = tp, columns, producers
        self.watermark = Watermark()

    def read(self, records: Records, wants_frame: bool) -> Batch:
        """Turn records into a batch of columns; markers only move time."""
        entries = _entries(records)
        marks = [i for i, key in enumerate(records.keys) if key is None]
        if not any(entries[i][_IDLE] for i in marks):
            return self._read(records, entries)
        # A producer that falls silent changes what time is from there on: what comes before is read first.
        batches, start = [], 0
        for i in (i for i in marks if entries[i][_IDLE]):
            batches.append(self._read(records.take(range(start, i)), entries[start:i]))
            producer, time, idle = entries[i]
            hear_marker(self.watermark, producer, time, idle, self.producers)
            start = i + 1
        batches.append(self._read(records.take(range(start, len(records))), entries[start:]))
        return _join(records, batches)

    def pass_over(self, records: Records) -> tuple[Times, Times]:
        """Every record here is read."""
        raise NotImplementedError("an internal topic has no records to pass over")

    def peek_times(self, records: Records) -> Times:
        """Return the event times of records without taking them; `NO_TIME` for markers and rows without one."""
        heads = (
            None if k is None else _row.decode(v or b"")[2] for k, v in zip(records.keys, records.values, strict=True)
        )
        return np.array([NO_TIME if time is None else time for time in heads], dtype=np.int64)

    def _read(self, records: Records, entries: list[list[Any]]) -> Batch:
        producers, times = (np.array([e[at] for e in entries], dtype=np.int64) for at in (0, 1))
        running = advance_producers(self.watermark, producers, times, self.producers)
        places = [i for i, key in enumerate(records.keys) if key is not None]
        if len(places) < len(entries):
            entries, running, records = [entries[i] for i in places], running[places], records.take(places)
        return self._batch(records, entries, running)

    def _batch(self, records: Records, rows: list[list[Any]], running: Times) -> Batch:
        fields = list(zip(*rows, strict=True)) if rows else [()] * (_HEAD + len(self.columns))
        producers, _, times, offsets, *columns = map(list, fields)
        event = np.array([NO_TIME if t is None else t for t in times], dtype=np.int64)
        series = [pl.Series(n, c, dtype=t) for (n, t), c in zip(self.columns.items(), columns, strict=True)]
        frame = pl.DataFrame([*series, *meta_columns(event, running, producers, offsets)])
        return Batch(records, None, event, running, frame)


def _entries(records: Records) -> list[list[Any]]:
    """Decode all values at once: rows and markers."""
    values = b"".join(records.values)  # type: ignore[arg-type]
    return _many.decode(b"\xdd" + len(records).to_bytes(4, "big") + values)


def _join(records: Records, batches: list[Batch]) -> Batch:
    frames = [b.frame for b in batches if b.frame is not None]
    times = np.concatenate([b.times for b in batches])
    frame = pl.concat(frames).with_columns(pl.Series(ROW, np.arange(len(times), dtype=np.int64)))
    kept = records.take([i for i, key in enumerate(records.keys) if key is not None])
    return Batch(kept, None, times, np.concatenate([b.watermarks for b in batches]), frame)
