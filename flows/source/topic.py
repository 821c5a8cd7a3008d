"""Reading a declared topic: bytes to objects, key claim, event times, stream time, and the columns steps ask for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import polars as pl

from dsl.plan.nodes import TopicNode
from flows.brokers.base import Records, TopicPartition
from flows.operate.base import NO_TIME, Batch, DeadLetters, Times, meta_columns
from flows.source.base import Decoder, KeyCheck, PlaceCheck, TimeReader
from flows.source.watermarks import Watermark, advance

_I64 = 1 << 63
_LARGEST_FLOAT = int(sys.float_info.max)


class TopicSource:
    """One partition of a topic as a task reads it; `removes` says that a null value is for a table, not refused."""

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
        places: PlaceCheck | None = None,
        removes: bool = False,
    ) -> None:
        self.node, self.tp, self.columns = node, tp, columns
        self._decoder, self._times, self._claim, self._dead = decoder, times, claim, dead
        self._places, self._removes = places, removes
        self.watermark = Watermark()

    def read(self, records: Records, wants_frame: bool) -> Batch:
        """Turn records into a batch; those that are refused have gone to the dead letters."""
        if self._places is not None:
            self._places.check(records)
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

    def pass_over(self, records: Records) -> tuple[Records, Times, Times]:
        """Return records without a value, their times, and the stream time as of each, which they move.

        Where the time is a field of the value, they have that of the record before them. Those whose time is refused
        have gone to the dead letters.
        """
        times, bad = self._times_without_values(records, self._dead)
        if bad:
            records, _, times = _drop(records, records.keys, times, bad)
        running = advance(self.watermark, times)
        return records, np.where(times == NO_TIME, running, times), running

    def _times_without_values(self, records: Records, dead: DeadLetters) -> tuple[Times, list[int]]:
        if self.node.timestamp is not None:
            return np.full(len(records), NO_TIME), []
        return self._times.read(records, (), dead)

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
        if self._removes:
            gone = [place for place, value in enumerate(records.values) if value is None]
            own, bad = self._times_without_values(records.take(gone), ignore)
            own[bad] = NO_TIME
            times[gone] = own
        return times

    def _with_meta(
        self, frame: list[pl.Series] | None, records: Records, times: Times, running: Times
    ) -> pl.DataFrame | None:
        if frame is None:
            return None
        return pl.DataFrame([*frame, *meta_columns(times, running, self.tp.partition, records.offsets)])

    def _frame(self, records: Records, objects: Sequence[Any], skip: set[int]) -> tuple[list[pl.Series], list[int]]:
        """Build the columns; rows with integers that no 64-bit column can hold are refused."""
        values = {name: list(map(attrgetter(name), objects)) for name in self.columns}
        try:
            return [pl.Series(name, values[name], dtype=dtype) for name, dtype in self.columns.items()], []
        except (OverflowError, TypeError, pl.exceptions.PolarsError):
            beyond = {i: name for name, dtype in self.columns.items() for i in _beyond(values[name], dtype)}
            if not beyond:
                return [
                    pl.Series(n, _as_floats(values[n], dtype), dtype=dtype) for n, dtype in self.columns.items()
                ], []
            for i in sorted(beyond.keys() - skip):
                reason = f"{beyond[i]}={_shown(values[beyond[i]][i])} does not fit into 64 bits"
                self._dead.refuse(self.node.id, records, i, reason, on_error=self.node.on_error)
            return [], list(beyond)


class _Unheard:
    """Dead letters of a look ahead: the same records are refused for good when they are read."""

    def refuse(self, step: str, records: Records, row: int, reason: str, *, on_error: str = "dead-letter") -> None:
        return


def _beyond(values: Sequence[Any], dtype: Any) -> list[int]:
    """Return the places of the integers that a column of this type cannot hold."""
    if dtype == pl.Int64:
        return [i for i, v in enumerate(values) if isinstance(v, int) and not -_I64 <= v < _I64]
    if dtype == pl.Float64:
        return [i for i, v in enumerate(values) if isinstance(v, int) and not -_LARGEST_FLOAT <= v <= _LARGEST_FLOAT]
    return []


def _as_floats(values: Sequence[Any], dtype: Any) -> Sequence[Any]:
    """Turn integers in a column of floats into floats: polars takes none beyond 128 bits."""
    return [float(v) if isinstance(v, int) else v for v in values] if dtype == pl.Float64 else values


def _shown(value: int) -> str:
    return str(value) if value.bit_length() < 200 else f"an integer of {value.bit_length()} bits"


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
