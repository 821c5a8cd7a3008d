"""The rows that a step with several inputs makes: a batch of their own for the steps behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

import msgspec
import numpy as np
import polars as pl

from flows.brokers.base import Records, TopicPartition
from flows.operate.base import NO_TIME, Batch, FrameStep, meta_columns

_json = msgspec.json.Encoder(enc_hook=repr).encode


class MadeRows:
    """Gather rows and hand them on as one batch.

    Their numbers, which go on from commit to commit, are their offsets: no two of a task's rows are the same to an
    agent's `take` or to another join. `tp` names the step. The message key is that of the columns at `keys`.
    """

    def __init__(
        self,
        tp: TopicPartition,
        columns: dict[str, Any],
        keys: Sequence[int],
        encode_key: Callable[[Any], bytes | None],
        now_ms: Callable[[], int],
    ) -> None:
        self._tp, self._columns, self._keys = tp, columns, keys
        self._encode_key, self._now_ms = encode_key, now_ms
        self.number = 0
        self._made: list[tuple[tuple[Any, ...], int, int, int]] = []

    def add(self, row: tuple[Any, ...], time: int, watermark: int, trigger: int) -> None:
        """Add a row with its event time, the stream time that steps behind see, and the input row it is due to."""
        self._made.append((row, time, watermark, trigger))

    def hand_on(self, then: FrameStep) -> None:
        """Pass on what was gathered, if anything was."""
        if not self._made:
            return
        made, self._made = self._made, []
        rows, *numbers = zip(*made, strict=True)
        times, watermarks, triggers = (np.array(column, np.int64) for column in numbers)
        offsets = range(self.number, self.number + len(rows))
        self.number += len(rows)
        lists = zip(*rows, strict=True)
        series = [pl.Series(n, list(c), dtype=t) for (n, t), c in zip(self._columns.items(), lists, strict=True)]
        frame = pl.DataFrame([*series, *meta_columns(times, watermarks, self._tp.partition, offsets)])
        batch = Batch(self._records(rows, offsets, times), None, times, watermarks, frame)
        batch.triggers = triggers
        then(frame, batch)

    def _records(self, rows: Sequence[tuple[Any, ...]], offsets: range, times: Any) -> Records:
        now = self._now_ms()
        return Records(
            tp=self._tp,
            offsets=offsets,
            timestamps=[now if t == NO_TIME else t // 1000 for t in times.tolist()],
            keys=self._message_keys(rows),
            values=_AsJson(tuple(self._columns), rows),
            headers=None,
            next_offset=offsets.stop,
        )

    def _message_keys(self, rows: Sequence[tuple[Any, ...]]) -> list[bytes | None]:
        encode = self._encode_key
        if len(self._keys) == 1:
            (place,) = self._keys
            return [encode(row[place]) for row in rows]
        keys = (tuple(row[place] for place in self._keys) for row in rows)
        return [None if None in key else encode(key) for key in keys]


class _AsJson(Sequence[bytes | None]):
    """Rows as JSON objects, each made when it is asked for: few ever are."""

    def __init__(self, names: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> None:
        self._names, self._rows = names, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> _AsJson: ...
    def __getitem__(self, place: int | slice) -> bytes | _AsJson:
        if isinstance(place, slice):
            return _AsJson(self._names, self._rows[place])
        return _json(dict(zip(self._names, self._rows[place], strict=True)))
