"""Late records: kept in a topic of their table, once each, with the windows that were closed for them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import polars as pl

from flows.operate.base import ROW, TIME, WATERMARK, WINDOW, Batch, Outputs

_json = msgspec.json.Encoder().encode


class LateBox:
    """Take the late rows of one table in one task; `count` learns how many came."""

    def __init__(
        self,
        topic: str,
        partition: int,
        columns: tuple[str, ...],
        outputs: Outputs,
        now_ms: Callable[[], int],
        count: Callable[[int], None],
    ) -> None:
        self._topic, self._partition, self._columns = topic, partition, columns
        self._outputs, self._now_ms, self._count = outputs, now_ms, count

    def add(self, rows: pl.DataFrame, batch: Batch) -> None:
        """Write each late record once; headers tell its windows (starts), event time and stream time, in seconds."""
        firsts = [pl.col(c).first() for c in (TIME, WATERMARK, *self._columns)]
        grouped = rows.group_by(ROW, maintain_order=True).agg(*firsts, pl.col(WINDOW).sort())
        self._count(grouped.height)
        for record in grouped.iter_rows(named=True):
            row, time, watermark, windows = (record.pop(c) for c in (ROW, TIME, WATERMARK, WINDOW))
            original = batch.records.values[row] if batch.objects is not None else _json(record)
            headers = (
                ("windows", _json([w / 1_000_000 for w in windows])),
                ("event-time", _json(time / 1_000_000)),
                ("stream-time", _json(watermark / 1_000_000)),
            )
            key = batch.records.keys[row]
            self._outputs.append(self._topic, self._partition, key, original, self._now_ms(), headers)
