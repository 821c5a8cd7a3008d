"""A topic read as if it were the changelog of its global table: its records come as rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from dsl.plan.nodes import TopicNode
from flows.brokers.base import Broker, Reader, Records, TopicPartition
from flows.compile.global_tables import GlobalRows

Learn = Callable[[str, Iterable[bytes | None]], Awaitable[None]]


class RowLogs:
    """What a restore, or an offline query, asks of a broker."""

    def __init__(self, broker: Broker, rows: GlobalRows, learn: Learn) -> None:
        self._broker, self._rows, self._learn = broker, rows, learn
        self.topic_ids, self.topics = broker.topic_ids, broker.topics
        self.start_offsets, self.end_offsets = broker.start_offsets, broker.end_offsets

    @property
    def topic(self) -> TopicNode:
        """The topic that is read."""
        return self._rows.topic

    def reader(self, positions: Mapping[TopicPartition, int]) -> Reader:
        """Open a reader of rows."""
        return _RowReader(self._broker.reader(positions), self._rows, self._learn)


class _RowReader:
    def __init__(self, reader: Reader, rows: GlobalRows, learn: Learn) -> None:
        self._reader, self._rows, self._learn = reader, rows, learn
        self.position, self.pause, self.resume, self.close = (
            *(reader.position, reader.pause, reader.resume),
            reader.close,
        )

    async def fetch(self, max_records: int, timeout: float) -> list[Records]:
        found = await self._reader.fetch(max_records, timeout)
        for records in found:
            await self._learn(records.tp.topic, records.values)
        return [self._rows.of(records) for records in found]
