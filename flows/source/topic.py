"""Reading a declared topic: bytes to objects, key claim, event times, stream time, and the columns steps ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from dsl.plan.nodes import TopicNode
from flows.brokers.base import Records, TopicPartition
from flows.operate.base import NO_TIME, Batch, DeadLetters, Times, meta_columns
from flows.source.base import Decoder, KeyCheck, TimeReader
from flows.source.watermarks import Watermark, advance

_I64 = 1 << 63


class TopicSource:
    """One partition of a topic as a task reads it."""

    producers = 0

    def __init__(
        self,
        node: TopicNode,
        tp: TopicPartition,
        columns: dict[str, Any],
        *,
        decoder: Decoder,
        times: TimeReader,
        claim: KeyCheck | None,
        dead: DeadLetters,
    ) -> None:
        self.node, self.tp, self.columns = node, tp, columns
        self._decoder, self._times, self._claim, self._dead = decoder, times, claim, dead
        self.watermark = Watermark()

    def read(self, records: Records, wants_frame: bool) -> Batch:
        """Turn records into a batch; those that are refused have gone to the dead letters."""
        records, objects = self._decoder.decode(records, self._dead)
        refused: list[int] = []
        if self._claim is not None and objects:
            refused = self._claim.wrong_rows(records, objects, self._dead)
        if refused:
            records, objects, _ = _drop(records, objects, None, refused)
        times, bad = self._times.read(records, objects, self._dead)
        frame: list[pl.Series] | None = None
        if wants_frame:
            frame, beyond = self._frame(records, objects, set(bad))
            bad = sorted({*bad, *beyond})
        if bad:
            records, objects, times = _drop(records, objects, times, bad)
            if wants_frame:
                frame, _ = self._frame(records, objects, set())
        running = advance(self.watermark, times)
        return Batch(records, objects, times, running, self._with_meta(frame, records, times, running))

    def peek_times(self, records: Records) -> Times:
        """Return the event times of records without taking them; `NO_TIME` for those that will be refused."""
        ignore = _Unheard()
        good, objects = self._decoder.decode(records, ignore)
        read, bad = self._times.read(good, objects, ignore)
        read[bad] = NO_TIME
        if len(good) == len(records):
            return read
        times = np.full(len(records), NO_TIME)
        times[np.isin(np.array(records.offsets), np.array(good.offsets))] = read
        return times

    def _with_meta(
        self, frame: list[pl.Series] | None, records: Records, times: Times, running: Times
    ) -> pl.DataFrame | None:
        if frame is None:
            return None
        return pl.DataFrame([*frame, *meta_columns(times, running, self.tp.partition, records.offsets)])

    def _frame(self, records: Records, objects: Sequence[Any], skip: set[int]) -> tuple[list[pl.Series], list[int]]:
        """Build the columns; rows with integers that no 64-bit column can hold are refused."""
        series = []
        for name, dtype in self.columns.items():
            values = [getattr(o, name) for o in objects]
            try:
                series.append(pl.Series(name, values, dtype=dtype, strict=dtype != pl.Float64))
            except (OverflowError, TypeError, pl.exceptions.PolarsError):
                beyond = [i for i, v in enumerate(values) if _too_big(v) and i not in skip]
                if not beyond and not skip:
                    raise
                for i in beyond:
                    reason = f"{name}={values[i]} does not fit into 64 bits"
                    self._dead.refuse(self.node.id, records, i, reason, on_error=self.node.on_error)
                return [], self._also_beyond(objects, beyond, records, skip, name)
        return series, []

    def _also_beyond(
        self, objects: Sequence[Any], beyond: list[int], records: Records, skip: set[int], done: str
    ) -> list[int]:
        found = set(beyond)
        for name in self.columns:
            if name == done:
                continue
            for i, o in enumerate(objects):
                if i not in found and i not in skip and _too_big(getattr(o, name)):
                    found.add(i)
                    reason = f"{name}={getattr(o, name)} does not fit into 64 bits"
                    self._dead.refuse(self.node.id, records, i, reason, on_error=self.node.on_error)
        return sorted(found)


class _Unheard:
    """Dead letters of a look ahead: the same records are refused for good when they are read."""

    def refuse(self, step: str, records: Records, row: int, reason: str, *, on_error: str = "dead-letter") -> None:
        return


def _too_big(value: Any) -> bool:
    return isinstance(value, int) and not -_I64 <= value < _I64


def _drop(
    records: Records, objects: Sequence[Any], times: Times | None, rows: list[int]
) -> tuple[Records, Sequence[Any], Any]:
    gone = set(rows)
    keep = [i for i in range(len(objects)) if i not in gone]
    return (
        records.take(keep),
        [objects[i] for i in keep],
        None if times is None else times[np.array(keep, dtype=np.intp)],
    )
