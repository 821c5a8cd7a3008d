"""Streams and table changes written to topics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
import polars as pl

from flows.brokers.base import Headers, Records, TopicPartition
from flows.errors import FlowsError
from flows.operate.base import NO_TIME, ROW, TIME, Batch, DeadLetters, Outputs

_first = msgspec.msgpack.Decoder(list[Any]).decode
_REFUSALS = (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError, FlowsError)


class RowObjects(Protocol):
    """Row objects of a frame."""

    def objects(self, frame: pl.DataFrame, batch: Batch) -> list[Any]: ...


class Encode(Protocol):
    """The encoder of the target topic."""

    key_field: str | None

    def encode(
        self,
        value: Any,
        key: Any = None,
        timestamp: float | None = None,
        *,
        headers: dict[str, bytes] | None = None,
    ) -> tuple[str, int, bytes | None, bytes | None, int, Headers]: ...


class StreamSink:
    """Write a stream's rows to a topic: keyed by the topic's declared field, else by the record's own key.

    The record's timestamp is the event time, in milliseconds. What the topic's type refuses is refused.
    """

    def __init__(self, step: str, rows: RowObjects, encoder: Encode, outputs: Outputs, dead: DeadLetters) -> None:
        self._step, self._rows, self._encoder, self._outputs, self._dead = step, rows, encoder, outputs, dead

    def process(self, frame: pl.DataFrame, batch: Batch) -> None:
        """Write the rows of a batch."""
        keys = batch.records.keys if self._encoder.key_field is None else [None] * len(batch.records)
        objects = self._rows.objects(frame, batch)
        for row, time, value in zip(frame[ROW].to_list(), frame[TIME].to_list(), objects, strict=True):
            seconds = batch.records.timestamps[row] / 1000 if time is None else time / 1_000_000
            try:
                output = self._encoder.encode(value, keys[row], seconds)
            except _REFUSALS as error:
                self._dead.refuse(self._step, batch.records, row, f"{error}")
                continue
            self._outputs.append(*output)


class TableRows(Protocol):
    """The rows of a table, from their stored form."""

    def key(self, key: bytes) -> dict[str, Any]:
        """Return the key columns of a row, and its window's bounds in seconds."""

    def rows(self, entries: Sequence[tuple[bytes, bytes]]) -> list[dict[str, Any]]: ...


class ChangeSink:
    """Write a declared table's changes to a topic: the row as a JSON object, its group's key as key.

    Rows of windows past their retention are forgotten, not deleted (as in Kafka Streams' window stores): they do not
    come here, as a null under the group's key would delete the rows of its newer windows wherever the topic is read as
    a table. A session that grew or merged is a null, with its bounds in the headers `window-start` and `window-end`,
    before the session that it became.

    A row that the topic cannot carry goes to the dead letters: key and state, with the table as their topic.
    """

    def __init__(
        self,
        step: str,
        table: TopicPartition,
        keys: tuple[str, ...],
        rows: TableRows,
        encoder: Encode,
        outputs: Outputs,
        dead: DeadLetters,
    ) -> None:
        self._step, self._table, self._keys, self._rows = step, table, keys, rows
        self._encoder, self._outputs, self._dead = encoder, outputs, dead

    def write(self, keys: list[bytes], states: list[bytes | None]) -> None:
        """Write the changes of a commit. The record's timestamp is the largest event time in the row."""
        live = [(k, s) for k, s in zip(keys, states, strict=True) if s is not None]
        rows = iter(self._rows.rows(live))
        for key, state in zip(keys, states, strict=True):
            if state is None:
                self._remove(self._rows.key(key))
                continue
            row, time = next(rows), _first(state)[0]
            try:
                output = self._encoder.encode(row, self._key(row), None if time == NO_TIME else time / 1_000_000)
            except _REFUSALS as error:
                self._dead.refuse(self._step, self._record(key, state), 0, f"{error}")
                continue
            self._outputs.append(*output)

    def _remove(self, place: dict[str, Any]) -> None:
        headers = {f"window-{end}": str(place[f"window_{end}"]).encode() for end in ("start", "end")}
        self._outputs.append(*self._encoder.encode(None, self._key(place), headers=headers))

    def _record(self, key: bytes, state: bytes) -> Records:
        return Records(
            tp=self._table, offsets=[0], timestamps=[0], keys=[key], values=[state], headers=None, next_offset=1
        )

    def _key(self, row: dict[str, Any]) -> Any:
        parts = tuple(row[k] for k in self._keys)
        return parts[0] if len(parts) == 1 else parts
