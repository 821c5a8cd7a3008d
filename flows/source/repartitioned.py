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

_HEAD, _IDLE = 4, 2


class RepartitionSource:
    """One partition of a repartition topic as the task behind it reads it.

    `declared` are the types of the columns whose values came as what they are made of: structs, for one.
    """

    def __init__(self, tp: TopicPartition, columns: dict[str, Any], declared: dict[str, Any], producers: int) -> None:
        self.tp, self.columns, self.producers = tp, columns, producers
        # The shapes are made at run time.
        self._shapes: dict[int, Any] = {
            place: list.__class_getitem__(declared[name] | None)
            for place, name in enumerate(columns)
            if name in declared
        }
        self.watermark = Watermark()

    def read(self, records: Records, wants_frame: bool) -> Batch:
        """Turn records into a batch of columns; markers only move time."""
        entries = _entries(records)
        running, start = np.empty(len(entries), np.int64), 0
        # A producer that falls silent changes what time is from there on: what comes before is heard first.
        for place in (i for i, key in enumerate(records.keys) if key is None and entries[i][_IDLE]):
            running[start:place] = self._hear(entries[start:place])
            producer, time, idle = entries[place]
            hear_marker(self.watermark, producer, time, idle, self.producers)
            running[place] = self.watermark.time
            start = place + 1
        running[start:] = self._hear(entries[start:])
        places = [i for i, key in enumerate(records.keys) if key is not None]
        if len(places) == len(entries):
            return self._batch(records, entries, running)
        batch = self._batch(records.take(places), [entries[i] for i in places], running[places])
        batch.passed = running
        return batch

    def pass_over(self, records: Records) -> tuple[Records, Times, Times]:
        """Every record here is read."""
        raise NotImplementedError("an internal topic has no records to pass over")

    def peek_times(self, records: Records) -> Times:
        """Return the event times of records without taking them; `NO_TIME` for markers and rows without one."""
        heads = (
            None if k is None else _row.decode(v or b"")[2] for k, v in zip(records.keys, records.values, strict=True)
        )
        return np.array([NO_TIME if time is None else time for time in heads], dtype=np.int64)

    def _hear(self, entries: list[list[Any]]) -> Times:
        """Return the stream time as of each of some entries, none of which says that its producer is idle."""
        producers, times = (np.array([e[at] for e in entries], dtype=np.int64) for at in (0, 1))
        return advance_producers(self.watermark, producers, times, self.producers)

    def _batch(self, records: Records, rows: list[list[Any]], running: Times) -> Batch:
        fields = list(zip(*rows, strict=True)) if rows else [()] * (_HEAD + len(self.columns))
        producers, _, times, offsets, *columns = map(list, fields)
        event = np.array([NO_TIME if t is None else t for t in times], dtype=np.int64)
        for place, shape in self._shapes.items():
            columns[place] = msgspec.convert(columns[place], shape)
        series = [pl.Series(n, c, dtype=t) for (n, t), c in zip(self.columns.items(), columns, strict=True)]
        frame = pl.DataFrame([*series, *meta_columns(event, running, producers, offsets)])
        return Batch(records, None, event, running, frame)


def _entries(records: Records) -> list[list[Any]]:
    """Decode all values at once: rows and markers."""
    values = b"".join(records.values)  # type: ignore[arg-type]
    return _many.decode(b"\xdd" + len(records).to_bytes(4, "big") + values)
