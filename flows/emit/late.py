"""Late records: kept in a topic of their table, once each, with the windows that were closed for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
import polars as pl

from dsl.plan.graph import late_topic_name
from dsl.window import FixedWindow
from flows.operate.base import ROW, TIME, WATERMARK, WINDOW, Batch, Outputs

_json = msgspec.json.Encoder(enc_hook=str).encode  # values of a person's codec may be of any class


class EncodeKey(Protocol):
    """Message-key bytes of a group's key."""

    def __call__(self, value: Any, /) -> bytes | None: ...


class LateEvent(Protocol):
    """A record in an agent's hands."""

    @property
    def value(self) -> Any: ...

    @property
    def timestamp(self) -> float | None: ...

    @property
    def raw(self) -> Any: ...


class LateBox:
    """Take the late rows of one table in one task, for it and the tables made of it.

    `count` learns by how many seconds each was behind stream time. A record's value is the JSON object that it came as
    (`is_json`), or one of it; of what came through a repartition that of the columns the table needs, keyed by the
    group.
    """

    def __init__(
        self,
        topics: Sequence[str],
        partition: int,
        columns: tuple[str, ...],
        keys: tuple[str, ...],
        is_json: bool,
        encode_key: EncodeKey,
        outputs: Outputs,
        now_ms: Callable[[], int],
        count: Callable[[Iterable[float]], None],
    ) -> None:
        self._topics, self._partition, self._columns, self._keys = topics, partition, columns, keys
        self._is_json, self._encode_key = is_json, encode_key
        self._outputs, self._now_ms, self._count = outputs, now_ms, count

    def add(self, rows: pl.DataFrame, batch: Batch) -> None:
        """Write each late record once; headers tell its windows (starts), event time and stream time, in seconds."""
        firsts = [pl.col(c).first() for c in (TIME, WATERMARK, *self._columns)]
        grouped = rows.group_by(ROW).agg(*firsts, pl.col(WINDOW).sort()).sort(ROW)
        self._count((grouped[WATERMARK] - grouped[TIME]) / 1_000_000)
        for record in grouped.iter_rows(named=True):
            row, time, watermark, windows = (record.pop(c) for c in (ROW, TIME, WATERMARK, WINDOW))
            key, value = self._original(batch, row, record)
            headers = (
                ("windows", _json([w / 1_000_000 for w in windows])),
                ("event-time", _json(time / 1_000_000)),
                ("stream-time", _json(watermark / 1_000_000)),
            )
            for topic in self._topics:
                self._outputs.append(topic, self._partition, key, value, self._now_ms(), headers)

    def _original(self, batch: Batch, row: int, columns: dict[str, Any]) -> tuple[bytes | None, bytes | None]:
        if batch.objects is None:
            parts = tuple(columns[name] for name in self._keys)
            return self._encode_key(parts[0] if len(parts) == 1 else parts), _json(columns)
        records = batch.records
        return records.keys[row], records.values[row] if self._is_json else _json(batch.objects[row])


class LateWrites:
    """Keep the records with which an agent wrote to windows of dictionary tables that had expired."""

    def __init__(
        self,
        app: str,
        partition: int,
        windows: Mapping[str, FixedWindow],
        is_json: bool,
        outputs: Outputs,
        now_ms: Callable[[], int],
        stream_time: Callable[[], int],
        count: Callable[[str, Iterable[float]], None],
    ) -> None:
        self._stream_time = stream_time
        self._app, self._partition, self._windows, self._is_json = app, partition, windows, is_json
        self._outputs, self._now_ms, self._count = outputs, now_ms, count

    def add(self, late: Mapping[str, set[int]], held: Sequence[LateEvent]) -> None:
        """Write the records in hand, for each table the starts of the windows that were gone for them."""
        for table, starts in late.items():
            own = [(event, self._of(table, event, starts)) for event in held]
            # Of several in hand those whose own windows they are; where other times chose the windows, all.
            own = [found for found in own if found[1]] or [(event, starts) for event in held]
            self._count(table, [self._behind(event) for event, _ in own] or [0.0])
            for event, windows in own:
                key, value, _ = event.raw
                headers = (
                    ("windows", _json([w / 1_000_000 for w in sorted(windows)])),
                    ("event-time", _json(event.timestamp)),
                    ("stream-time", _json(self._stream_time() / 1_000_000)),
                )
                self._outputs.append(
                    late_topic_name(self._app, table),
                    self._partition,
                    key,
                    value if self._is_json else _json(event.value),
                    self._now_ms(),
                    headers,
                )

    def _behind(self, event: LateEvent) -> float:
        """Return by how many seconds a record is behind stream time, which need not be why it is late."""
        return 0.0 if event.timestamp is None else max(0.0, self._stream_time() / 1_000_000 - event.timestamp)

    def _of(self, table: str, event: LateEvent, starts: set[int]) -> set[int]:
        if event.timestamp is None:
            return set()
        return starts.intersection(self._windows[table].starts(round(event.timestamp * 1_000_000)))
