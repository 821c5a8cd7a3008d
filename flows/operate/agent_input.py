"""What an agent holds: the records it was given, how far it is, and what a `take` keeps for later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from flows.brokers.base import Headers, Records, TopicPartition
from flows.operate.base import NO_TIME, Batch
from flows.tracing import trace_of


class Event(msgspec.Struct, frozen=True):
    """A record with where it came from. `timestamp` is its event time in seconds, None where it has none."""

    value: Any
    key: Any
    timestamp: float | None
    headers: Headers
    topic: str
    partition: int
    offset: int
    raw: Any = None


class AgentInput:
    """A chunk of records on its way through an agent.

    `values[:done]` are finished, `values[done:pos]` in the agent's hands, the rest waits. Elements pulled by `take`
    leave the chunk for `taken`, which is task state: committed with the offset, restored with the task.
    """

    def __init__(self, key_field: str | tuple[str, ...] | None) -> None:
        self._key_field = key_field
        self.values: Sequence[Any] = ()
        self.rows: Sequence[int] = ()
        self.batch: Batch | None = None
        self.done = self.pos = self.end = 0
        self.taken: list[Event] = []
        self.in_hand = 0
        self.redeliver = 0
        self._chunks = 0
        self._time: tuple[tuple[int, int, int], float | None] | None = None

    def give(self, values: Sequence[Any], rows: Sequence[int], batch: Batch) -> None:
        """Take over the next chunk; the one before is finished."""
        self.values, self.rows, self.batch = values, rows, batch
        self.done = self.pos = 0
        self.end = len(values)
        self._chunks += 1

    def progress(self) -> tuple[int, int, int]:
        """Return what differs once a record was read."""
        return self._chunks, self.done, len(self.taken)

    def event(self, index: int) -> Event:
        """Return the record at a place of the chunk with its origin."""
        batch = self.batch
        assert batch is not None
        row, value = self.rows[index], self.values[index]
        records = batch.records
        time = int(batch.times[row])
        return Event(
            value=value,
            key=self.key(value, records.keys[row]),
            timestamp=None if time == NO_TIME else time / 1_000_000,
            headers=records.headers[row] if records.headers is not None else (),
            topic=(origin := records.origin(row)).topic,
            partition=origin.partition,
            offset=records.offsets[row],
            raw=(records.keys[row], records.values[row], records.timestamps[row]),
        )

    def key(self, value: Any, raw: bytes | None) -> Any:
        """Return a record's key: the declared field, else the message key as text where it is text."""
        if isinstance(self._key_field, tuple):
            return tuple(getattr(value, name) for name in self._key_field)
        if self._key_field is not None:
            return getattr(value, self._key_field, None)
        if raw is None:
            return None
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return raw

    def pull(self, count: int) -> None:
        """Move up to `count` waiting records from the chunk to `taken`."""
        upto = min(self.end, self.pos + max(count, 0))
        self.taken.extend(self.event(i) for i in range(self.pos, upto))
        self.pos = self.done = upto

    def finish(self) -> None:
        """Count all that is in hand as done."""
        if self.in_hand:
            del self.taken[: self.in_hand]
            self.in_hand = self.redeliver = 0
            self._time = None
        self.done = self.pos

    def take_back(self) -> None:
        """After a failure: what was in hand will be delivered again, the same way."""
        self.redeliver = self.in_hand or self.redeliver
        self.in_hand = 0
        self.pos = self.done

    def held(self) -> list[Event]:
        """Return the records in the agent's hands."""
        return self.taken[: self.in_hand] if self.in_hand else [self.event(i) for i in range(self.done, self.pos)]

    def time_in_hand(self) -> float | None:
        """Return the largest event time in the agent's hands, in seconds; None where there is none."""
        if self.pos == self.done and not self.in_hand:
            return None
        # Asked for with each value of a list that an agent works through, so it is remembered.
        hand = (self._chunks, self.done, self.pos)
        if self._time is None or self._time[0] != hand:
            self._time = hand, self._latest()
        return self._time[1]

    def trace_in_hand(self) -> Headers:
        """Return the header of the trace of the last record in the agent's hands that has one."""
        if not self.has_headers:
            return ()
        return next((found for event in reversed(self.held()) if (found := trace_of(event.headers))), ())

    @property
    def has_headers(self) -> bool:
        """Whether something in hand may have headers."""
        if self.in_hand:
            return any(event.headers for event in self.taken[: self.in_hand])
        return self.batch is not None and self.batch.records.headers is not None

    def value_in_hand(self) -> Any:
        """Return the last of the values in the agent's hands; None where there is none."""
        if self.in_hand:
            return self.taken[self.in_hand - 1].value
        return self.values[self.pos - 1] if self.pos > self.done else None

    def _latest(self) -> float | None:
        if self.in_hand:
            return max((e.timestamp for e in self.taken[: self.in_hand] if e.timestamp is not None), default=None)
        assert self.batch is not None
        latest = max(int(self.batch.times[self.rows[i]]) for i in range(self.done, self.pos))
        return None if latest == NO_TIME else latest / 1_000_000

    def drop_failed(self, count: int, taken: bool) -> None:
        """Go on behind records that were given up; `taken` tells that a `take` held them."""
        if taken:
            del self.taken[:count]
            self.redeliver = 0
        else:
            self.done = self.pos = self.done + count


def as_records(event: Event, *, as_json: bool = False) -> Records:
    """Return an event as the record it was, or `as_json` where that is of an internal topic, which nobody reads."""
    key, value, timestamp = event.raw
    if as_json:
        key, value = (msgspec.json.encode(part) for part in (event.key, event.value))
    return Records(
        tp=TopicPartition(event.topic, event.partition),
        offsets=[event.offset],
        timestamps=[timestamp],
        keys=[key],
        values=[value],
        headers=[event.headers] if event.headers else None,
        next_offset=event.offset + 1,
    )
