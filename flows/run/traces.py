"""The traces of a task's records: a span from when a record is fetched until what was done with it is committed.

A record whose header `traceparent` says that it is traced gets the header of its own span in its place, which is what
agents see, and what the records that it causes carry on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import msgspec

from flows.brokers.base import Headers, Records, TopicPartition
from flows.tracing import TRACEPARENT, Span, Tracer, trace_of

_SHORTEST = 55
_MOST = 10_000
"""Spans of one partition that are under way; records beyond them go without."""


class TaskTraces:
    """The spans of one task that are under way."""

    def __init__(self, tracer: Tracer, task_id: str, group: str) -> None:
        self._tracer, self._task_id, self._group = tracer, task_id, group
        self._open: dict[TopicPartition, deque[tuple[int, Span]]] = {}

    def taken(self, records: Records) -> Records:
        """Begin the spans of records that are traced; return the records with their headers."""
        if records.headers is None:
            return records
        headers = list(records.headers)
        for row, own in enumerate(records.headers):
            found = trace_of(own)
            if found and _is_sampled(found[0][1]):
                headers[row] = self._begun(records, row, own, found[0][1])
        return msgspec.structs.replace(records, headers=headers)

    def committed(self, positions: Mapping[TopicPartition, int]) -> None:
        """End the spans of records before these positions."""
        for tp, spans in self._open.items():
            while spans and spans[0][0] < positions.get(tp, 0):
                spans.popleft()[1].end()

    def _begun(self, records: Records, row: int, own: Headers, parent: bytes) -> Headers:
        tp, offset = records.tp, records.offsets[row]
        spans = self._open.setdefault(tp, deque())
        if len(spans) >= _MOST:
            return own
        about: dict[str, str | int] = {
            "messaging.system": "flows",
            "messaging.operation.type": "process",
            "messaging.destination.name": tp.topic,
            "messaging.destination.partition.id": str(tp.partition),
            "messaging.consumer.group.name": self._group,
            "messaging.kafka.offset": offset,
            "flows.task": self._task_id,
        }
        span = self._tracer.begin(f"process {tp.topic}", "consumer", parent, about)
        spans.append((offset, span))
        return tuple((name, span.header if name == TRACEPARENT else content) for name, content in own)


def _is_sampled(header: bytes) -> bool:
    """Tell whether the sender makes a span of it: the last bit of the flags, which are two hexadecimal digits."""
    return len(header) >= _SHORTEST and header[-1:] in b"13579bdf"
