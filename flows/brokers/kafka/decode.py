"""From the bytes of a fetch response to columns: committed records only, without an object for each that stays."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice
from operator import attrgetter
from typing import Any, NamedTuple

from aiokafka.errors import CorruptRecordException
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.memory_records import MemoryRecords

from flows.brokers.base import Headers, Records, TopicPartition

_AT_ONCE = 256
"""Records that are objects at the same time: more, and the garbage collector looks at them, for a third of all time."""

_timestamp, _key, _value, _headers, _offset = map(attrgetter, ("timestamp", "key", "value", "headers", "offset"))


class Chunk(NamedTuple):
    """What a fetch brought of a partition: records, if any, the position behind them, and the size in bytes."""

    records: Records | None
    next_offset: int
    size: int


class Aborted(NamedTuple):
    """A transaction that was aborted: its producer, and the first offset it wrote in the partition."""

    producer: int
    first: int


def decode(tp: TopicPartition, data: bytes, position: int, aborted: Sequence[Aborted]) -> Chunk:
    """Parse the batches of a response from `position` on; raises `CorruptRecordException` for a wrong checksum.

    Left out are control records, records of aborted transactions and those below the position, whose batch was cut.
    """
    columns = _Columns()
    filter_ = _Filter(aborted)
    batches = MemoryRecords(data)
    end = position
    while batches.has_next():
        batch = batches.next_batch()
        if not batch.validate_crc():
            raise CorruptRecordException(f"{tp}: the batch at offset {batch.base_offset} has a wrong checksum")
        if filter_.passes(batch):
            columns.take(batch, end)
        end = max(end, batch.next_offset)
    return Chunk(columns.records(tp, end), end, len(data))


class _Filter:
    """Tell the batches of aborted transactions, given in the order of the log, from the others."""

    def __init__(self, aborted: Sequence[Aborted]) -> None:
        self._pending = sorted(aborted, key=lambda each: each.first, reverse=True)
        self._aborting: set[int] = set()

    def passes(self, batch: Any) -> bool:
        # Before markers too: compaction may have left nothing of an aborted transaction but its marker.
        while self._pending and self._pending[-1].first <= batch.base_offset:
            self._aborting.add(self._pending.pop().producer)
        if batch.is_control_batch:
            # The marker ends the producer's transaction: what it writes behind it is of another.
            record = next(iter(batch), None)
            if record is not None and ControlRecord.parse(record.key) == ABORT_MARKER:
                self._aborting.discard(batch.producer_id)
            return False
        return not (batch.is_transactional and batch.producer_id in self._aborting)


class _Columns:
    """The columns of several batches."""

    def __init__(self) -> None:
        self._offsets: list[Sequence[int]] = []
        self._timestamps: list[int] = []
        self._keys: list[bytes | None] = []
        self._values: list[bytes | None] = []
        self._headers: list[Headers] | None = None

    def take(self, batch: Any, position: int) -> None:
        """Append a batch's records from the position on."""
        rows = chain(batch)  # aiokafka's batch itself cannot be taken from twice
        while records := list(islice(rows, _AT_ONCE)):
            self._take(records, position)

    def _take(self, records: list[Any], position: int) -> None:
        first = _offset(records[0])
        whole = _offset(records[-1]) - first + 1 == len(records)
        if first < position:
            records = records[position - first :] if whole else [r for r in records if r.offset >= position]
            first = max(first, position)
        if not records:
            return
        headers = list(map(_headers, records))
        if any(headers) and self._headers is None:
            self._headers = [()] * len(self._values)
        if self._headers is not None:
            self._headers += [tuple((name, value or b"") for name, value in each) for each in headers]
        self._offsets.append(range(first, first + len(records)) if whole else list(map(_offset, records)))
        self._timestamps += map(_timestamp, records)
        self._keys += map(_key, records)
        self._values += map(_value, records)

    def records(self, tp: TopicPartition, next_offset: int) -> Records | None:
        if not self._values:
            return None
        return Records(
            tp=tp,
            offsets=_joined(self._offsets),
            timestamps=self._timestamps,
            keys=self._keys,
            values=self._values,
            headers=self._headers,
            next_offset=next_offset,
        )


def join(parts: Sequence[Records]) -> Records:
    """Make one of consecutive records of a partition."""
    if len(parts) == 1:
        return parts[0]
    timestamps: list[int] = []
    keys: list[bytes | None] = []
    values: list[bytes | None] = []
    headers: list[Headers] | None = None if all(part.headers is None for part in parts) else []
    for part in parts:
        timestamps += part.timestamps
        keys += part.keys
        values += part.values
        if headers is not None:
            headers += part.headers if part.headers is not None else [()] * len(part)
    return Records(
        tp=parts[0].tp,
        offsets=_joined([part.offsets for part in parts]),
        timestamps=timestamps,
        keys=keys,
        values=values,
        headers=headers,
        next_offset=parts[-1].next_offset,
    )


def _joined(parts: Sequence[Sequence[int]]) -> Sequence[int]:
    """Join ascending offsets: a range while there is no hole, which is nearly always."""
    first, last, count = parts[0][0], parts[-1][-1], sum(map(len, parts))
    return range(first, last + 1) if last - first + 1 == count else list(chain.from_iterable(parts))
