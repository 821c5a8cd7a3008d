"""Read assigned partitions: rounds of bounded reads in the broker's reader thread, waits in the loop."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol, TypeVar

from flows.brokers.base import Records, TopicPartition
from flows.brokers.embedded.log import Chunk, read
from flows.brokers.embedded.watch import Ticket, Watch
from flows.errors import BrokerError

T = TypeVar("T")
_PARTITION_BYTES = 4 << 20
_ROUND_BYTES = 16 << 20  # of all partitions, so that no read transaction is long


class Read(Protocol):
    """Run a function on the read connection, in the reader thread."""

    def __call__(self, doing: str, work: Callable[[sqlite3.Connection], T]) -> Awaitable[T]: ...


class EmbeddedReader:
    """A `Reader`: keeps the positions, and what a read gave beyond what was asked for."""

    def __init__(self, positions: Mapping[TopicPartition, int], read: Read, watch: Watch) -> None:
        self._positions = dict(positions)
        self._order = list(positions)
        self._left: dict[TopicPartition, Records] = {}
        self._paused: set[TopicPartition] = set()
        self._read, self._watch = read, watch
        self._ticket: Ticket | None = None
        self._closed = False

    async def fetch(self, max_records: int, timeout: float) -> list[Records]:
        """Return what is there, at most `max_records` a partition; wait up to `timeout` seconds if nothing is.

        Returns nothing, but at once, when all it did was to move a position across a hole to the end.
        Raises `OffsetOutOfRange`, `UnknownTopic`, `BrokerUnavailable`. A cancelled fetch has read nothing.
        """
        if self._ticket is not None:
            raise BrokerError("a fetch of this reader is under way", fix="await it, or open another reader")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            wanted = self._wanted()
            before = {tp: self._positions[tp] for tp in wanted}
            self._ticket = ticket = self._watch.enter(before)
            try:
                found = await self._round(wanted, max_records)
                moved = any(self._positions[tp] != position for tp, position in before.items())
                rest = deadline - loop.time()
                if found or moved or rest <= 0 or self._closed:
                    return found
                await ticket.wait(rest)
            finally:
                self._watch.leave(ticket)
                self._ticket = None

    def position(self, tp: TopicPartition) -> int:
        """Return the next offset that `fetch` will read."""
        return self._positions[tp]

    def pause(self, tps: Iterable[TopicPartition]) -> None:
        """Leave these partitions out of `fetch` until resumed."""
        self._paused.update(tps)

    def resume(self, tps: Iterable[TopicPartition]) -> None:
        """Read these partitions again, a waiting fetch too."""
        self._paused.difference_update(tps)
        self._wake()

    async def close(self) -> None:
        """End a waiting fetch, which returns nothing."""
        self._closed = True
        self._left.clear()
        self._wake()

    def _wake(self) -> None:
        if self._ticket is not None:
            self._ticket.wake()

    def _wanted(self) -> list[TopicPartition]:
        if self._closed:
            raise BrokerError("the reader is closed", fix="open another one at its positions")
        # Another partition comes first each time, so that the round's limit starves none.
        self._order = self._order[1:] + self._order[:1]
        return [tp for tp in self._order if tp not in self._paused]

    async def _round(self, wanted: list[TopicPartition], max_records: int) -> list[Records]:
        missing = {tp: self._positions[tp] for tp in wanted if tp not in self._left}
        chunks: dict[TopicPartition, Chunk] = {}
        if missing:
            chunks = await self._read("read records", lambda db: _read_all(db, missing, max_records))
        if self._closed:
            return []
        for tp, chunk in chunks.items():
            if chunk.records is None:
                self._positions[tp] = chunk.position  # nothing but holes up to there
            else:
                self._left[tp] = chunk.records
        return [self._take(tp, max_records) for tp in wanted if tp in self._left and tp not in self._paused]

    def _take(self, tp: TopicPartition, max_records: int) -> Records:
        records, rest = self._left.pop(tp).split(max_records)
        if rest is not None:
            self._left[tp] = rest
        self._positions[tp] = records.next_offset
        return records


def _read_all(
    connection: sqlite3.Connection, positions: Mapping[TopicPartition, int], max_records: int
) -> dict[TopicPartition, Chunk]:
    chunks: dict[TopicPartition, Chunk] = {}
    size = 0
    connection.execute("BEGIN")  # one view of all partitions; ended before anything is awaited
    try:
        for tp, position in positions.items():
            if size >= _ROUND_BYTES:
                break
            chunks[tp] = chunk = read(connection, tp, position, max_records, _PARTITION_BYTES)
            size += chunk.size
    finally:
        connection.rollback()
    return chunks
