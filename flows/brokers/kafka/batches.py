"""From columns to record batches as they go over the wire, numbered so that a broker drops what it has already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import repeat
from typing import Any, NamedTuple

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from flows.brokers.base import Outgoing, TopicPartition
from flows.brokers.kafka.limits import Limits

BATCH_BYTES = 900_000
"""The most a batch holds, unless a single record is larger: below what a broker takes by default."""

_SEQUENCES = 1 << 31


class Sealed(NamedTuple):
    """A batch with its producer's number in it: may be sent again and again, is stored once."""

    data: bytes
    records: int


class Open(NamedTuple):
    """A batch without its producer's number."""

    builder: Any
    records: int


def build(
    outputs: Mapping[TopicPartition, Outgoing], limits: Limits, *, transactional: bool
) -> dict[TopicPartition, list[Open]]:
    """Put records into batches; empty outputs are left out."""
    return {
        tp: list(_batches(out, min(BATCH_BYTES, limits.batch_bytes(tp)), transactional))
        for tp, out in outputs.items()
        if len(out)
    }


def _batches(out: Outgoing, most: int, transactional: bool) -> Iterator[Open]:
    builder, count = _builder(most, transactional), 0
    append = builder.append
    headers = repeat([]) if out.headers is None else map(list, out.headers)
    for key, value, timestamp, own in zip(out.keys, out.values, out.timestamps, headers, strict=False):
        if append(count, timestamp, key, value, own) is None:
            yield Open(builder, count)
            builder, count = _builder(most, transactional), 0
            append = builder.append
            append(0, timestamp, key, value, own)
        count += 1
    yield Open(builder, count)


def _builder(most: int, transactional: bool) -> Any:
    return DefaultRecordBatchBuilder(2, 0, int(transactional), -1, -1, 0, most)


class Numbering:
    """The identity of a producer, and the number of its next record in each partition."""

    def __init__(self, producer_id: int, epoch: int) -> None:
        self.producer_id, self.epoch = producer_id, epoch
        self._next: dict[TopicPartition, int] = {}

    def seal(self, tp: TopicPartition, batch: Open) -> Sealed:
        """Number a batch; those of a partition must be sent in this order."""
        sequence = self._next.get(tp, 0)
        self._next[tp] = (sequence + batch.records) % _SEQUENCES
        batch.builder.set_producer_state(self.producer_id, self.epoch, sequence)
        return Sealed(bytes(batch.builder.build()), batch.records)
