"""Streams and table changes written to topics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
import polars as pl

from flows.brokers.base import Headers, Records, TopicPartition
from flows.errors import FlowsError
from flows.operate.base import NO_TIME, ROW, TIME, Batch, DeadLetters, Outputs
from flows.sink.targets import Encode, PartitionIn, TopicOf
from flows.tracing import trace_of

_first = msgspec.msgpack.Decoder(list[Any]).decode
_REFUSALS = (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError, FlowsError)


class RowObjects(Protocol):
    """Row objects of a frame."""

    def objects(self, frame: pl.DataFrame, batch: Batch) -> list[Any]: ...


class StreamSink:
    """Write a stream's rows to topics: keyed by the topic's declared field, else by the record's own key.

    The record's timestamp is the event time, in milliseconds. What has no topic or partition to go to is refused, and
    what the topic's type refuses.
    """

    def __init__(
        self,
        step: str,
        rows: RowObjects,
        topics: Callable[[pl.DataFrame], TopicOf],
        partitions: Callable[[pl.DataFrame], PartitionIn],
        outputs: Outputs,
        dead: DeadLetters,
    ) -> None:
        self._step, self._rows, self._outputs, self._dead = step, rows, outputs, dead
        self._topics, self._partitions = topics, partitions

    def process(self, frame: pl.DataFrame, batch: Batch) -> None:
        """Write the rows of a batch."""
        headers = batch.records.headers
        keys, topic_of, partition_in = batch.records.keys, self._topics(frame), self._partitions(frame)
        times = zip(frame[ROW].to_list(), frame[TIME].to_list(), strict=True)
        for place, ((row, time), value) in enumerate(zip(times, self._rows.objects(frame, batch), strict=True)):
            seconds = batch.records.timestamps[row] / 1000 if time is None else time / 1_000_000
            try:
                topic = topic_of(place, value)
                key = keys[row] if topic.key_field is None else None
                output = topic.encode(value, key, seconds, partition_in(place, value, topic))
            except _REFUSALS as error:
                self._dead.refuse(self._step, batch.records, row, f"{error}")
                continue
            self._outputs.append(*output if headers is None else _traced(output, headers[row]))


def _traced(output: Any, of: Headers) -> Any:
    """Return an output with the trace of the record that it came from."""
    *record, headers = output
    return (*record, (*headers, *trace_of(of)))


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
    before the session that it became. So is a row without windows that went.

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
            try:
                if state is None:
                    output = self._removal(self._rows.key(key))
                else:
                    row, time = next(rows), _first(state)[0]
                    output = self._encoder.encode(row, self._key(row), None if time == NO_TIME else time / 1_000_000)
            except _REFUSALS as error:
                self._dead.refuse(self._step, self._record(key, state), 0, f"{error}")
                continue
            self._outputs.append(*output)

    def _removal(self, place: dict[str, Any]) -> Any:
        bounds = {f"window-{end}": place.get(f"window_{end}") for end in ("start", "end")}
        headers = {name: str(bound).encode() for name, bound in bounds.items() if bound is not None}
        return self._encoder.encode(None, self._key(place), headers=headers)

    def _record(self, key: bytes, state: bytes | None) -> Records:
        return Records(
            tp=self._table, offsets=[0], timestamps=[0], keys=[key], values=[state], headers=None, next_offset=1
        )

    def _key(self, row: dict[str, Any]) -> Any:
        parts = tuple(row[k] for k in self._keys)
        return parts[0] if len(parts) == 1 else parts
