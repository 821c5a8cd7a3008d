"""Writing an internal repartition topic: rows find the partition of their new key; see `source.repartitioned`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import polars as pl

from flows.operate.base import OFFSET, PARTITION, ROW, TIME, WATERMARK, Batch, DeadLetters, Outputs
from flows.route.partitioner import Partitioner
from flows.tracing import trace_of

_encode = msgspec.msgpack.Encoder().encode


class RepartitionWriter:
    """Send each row to the partition of its key, with its event time and this task's stream time.

    `encode_keys` makes the canonical key bytes of the key columns; `producer` is this task's partition. A row without
    an event time, which only a table without windows takes, gets this task's stream time: on the far side time
    depends on when other tasks commit. `home` names the column that says which partition a row is for, where its key
    does not. A row larger than `max_bytes` is refused.
    """

    def __init__(
        self,
        step: str,
        topic: str,
        partitions: int,
        producer: int,
        keys: tuple[str, ...],
        columns: tuple[str, ...],
        *,
        encode_keys: Callable[[list[list[Any]]], list[bytes]],
        now_ms: Callable[[], int],
        outputs: Outputs,
        dead: DeadLetters,
        max_bytes: int,
        home: str | None = None,
    ) -> None:
        self._step, self._dead, self._max_bytes = step, dead, max_bytes
        self._topic, self._producer, self._home = topic, producer, home
        self._keys, self._columns = keys, columns
        self._encode_keys, self._now_ms = encode_keys, now_ms
        self._outputs = outputs
        self._partitioner = Partitioner(partitions)

    def process(self, frame: pl.DataFrame, batch: Batch) -> None:
        """Write the rows of a batch."""
        keys = self._encode_keys([frame[k].to_list() for k in self._keys])
        times = frame[TIME].fill_null(frame[WATERMARK]) if frame[TIME].null_count() else frame[TIME]
        columns = [frame[c].to_list() for c in (PARTITION, WATERMARK)]
        columns += [times.to_list(), *(frame[c].to_list() for c in (OFFSET, *self._columns))]
        now = self._now_ms()
        append, most, headers = self._outputs.append, self._max_bytes, batch.records.headers
        rows = zip(*columns, strict=True)
        sources = [] if headers is None else frame[ROW].to_list()
        homes = self._partitioner.of_all(keys) if self._home is None else frame[self._home].to_list()
        for place, (key, partition, row) in enumerate(zip(keys, homes, rows, strict=True)):
            value = _encode(row)
            if len(value) + len(key) > most:
                reason = f"its columns for {self._step} have {len(value) + len(key)} bytes, more than {most}"
                self._dead.refuse(self._step, batch.records, frame[ROW][place], reason)
                continue
            trace = () if headers is None else trace_of(headers[sources[place]])
            append(self._topic, partition, key, value, now, trace)

    def mark(self, time: int, idle: bool) -> None:
        """Write this task's stream time to every partition, so that time moves on where no row goes."""
        value = _encode((self._producer, time, idle))
        for partition in range(self._partitioner.partitions):
            self._outputs.append(self._topic, partition, None, value, self._now_ms())
