"""Writing an internal repartition topic: rows find the partition of their new key; see `source.repartitioned`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import polars as pl

from flows.operate.base import OFFSET, PARTITION, TIME, WATERMARK, Batch, Outputs
from flows.route.partitioner import Partitioner

_encode = msgspec.msgpack.Encoder().encode


class RepartitionWriter:
    """Send each row to the partition of its key, with its event time and this task's stream time.

    `encode_keys` makes the canonical key bytes of the key columns; `producer` is this task's partition.
    """

    def __init__(
        self,
        topic: str,
        partitions: int,
        producer: int,
        keys: tuple[str, ...],
        columns: tuple[str, ...],
        *,
        encode_keys: Callable[[list[list[Any]]], list[bytes]],
        now_ms: Callable[[], int],
        outputs: Outputs,
    ) -> None:
        self._topic, self._producer = topic, producer
        self._keys, self._columns = keys, columns
        self._encode_keys, self._now_ms = encode_keys, now_ms
        self._outputs = outputs
        self._partitioner = Partitioner(partitions)

    def process(self, frame: pl.DataFrame, batch: Batch) -> None:
        """Write the rows of a batch."""
        keys = self._encode_keys([frame[k].to_list() for k in self._keys])
        columns = [frame[c].to_list() for c in (PARTITION, WATERMARK, TIME, OFFSET, *self._columns)]
        now = self._now_ms()
        append = self._outputs.append
        for key, partition, row in zip(keys, self._partitioner.of_all(keys), zip(*columns, strict=True), strict=True):
            append(self._topic, partition, key, _encode(row), now)

    def mark(self, time: int, idle: bool) -> None:
        """Write this task's stream time to every partition, so that time moves on where no row goes."""
        value = _encode((self._producer, time, idle))
        for partition in range(self._partitioner.partitions):
            self._outputs.append(self._topic, partition, None, value, self._now_ms())
