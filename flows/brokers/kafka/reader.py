"""Read assigned partitions: takes what the process's fetcher has brought, and waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from flows.brokers.base import Records, TopicPartition
from flows.brokers.kafka.cursor import Cursor
from flows.brokers.kafka.fetcher import Fetcher
from flows.errors import BrokerError, BrokerUnavailable

PATIENCE = 10.0
"""Seconds that a partition may be out of reach before `fetch` says so; it is tried on all the same."""


class KafkaReader:
    """A `Reader` over the shared fetcher."""

    def __init__(self, positions: Mapping[TopicPartition, int], fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._cursors = {tp: Cursor(tp, position, self._news.set) for tp, position in positions.items()}
        self._order = list(self._cursors)
        self._paused: set[TopicPartition] = set()
        self._under_way = self._closed = False
        for cursor in self._cursors.values():
            fetcher.follow(cursor)

    async def fetch(self, max_records: int, timeout: float) -> list[Records]:
        """Return what has come, at most `max_records` a partition; wait up to `timeout` seconds if nothing has.

        With a timeout of 0 that is what lies here already. Returns nothing, but at once, when all it did was to move a
        position across control records. Raises `OffsetOutOfRange`, `UnknownTopic`, and, when its time is over,
        `BrokerUnavailable` while a partition has been out of reach for long. A cancelled fetch has read nothing.
        """
        if self._closed:
            raise BrokerError("the reader is closed", fix="open another one at its positions")
        if self._under_way:
            raise BrokerError("a fetch of this reader is under way", fix="await it, or open another reader")
        deadline = self._loop.time() + timeout
        self._under_way = True
        try:
            while True:
                self._news.clear()
                before = {tp: cursor.position for tp, cursor in self._cursors.items()}
                found = self._take(max_records)
                moved = any(cursor.position != before[tp] for tp, cursor in self._cursors.items())
                if found or moved:
                    return found
                self._raise_errors()
                rest = deadline - self._loop.time()
                if rest <= 0 or self._closed:
                    await self._complain()
                    return []
                await self._wait(rest)
        finally:
            self._under_way = False

    def position(self, tp: TopicPartition) -> int:
        """Return the next offset that `fetch` will read."""
        return self._cursors[tp].position

    def pause(self, tps: Iterable[TopicPartition]) -> None:
        """Leave these partitions out of `fetch` until resumed."""
        self._paused.update(tps)

    def resume(self, tps: Iterable[TopicPartition]) -> None:
        """Read these partitions again, a waiting fetch too."""
        self._paused.difference_update(tps)
        self._news.set()

    async def close(self) -> None:
        """End a waiting fetch, which returns nothing."""
        self._closed = True
        for cursor in self._cursors.values():
            self._fetcher.leave(cursor)
        self._news.set()

    def _take(self, max_records: int) -> list[Records]:
        # Another partition comes first each time, so that what is cut off further on cuts off none for good.
        self._order = self._order[1:] + self._order[:1]
        found = []
        for tp in self._order:
            if tp not in self._paused:
                cursor = self._cursors[tp]
                full = not cursor.wants
                records = cursor.take(max_records)
                if records is not None:
                    found.append(records)
                if full and cursor.wants:
                    self._fetcher.look()
        return found

    def _raise_errors(self) -> None:
        for tp, cursor in self._cursors.items():
            if cursor.error is not None and tp not in self._paused:
                raise cursor.error

    async def _complain(self) -> None:
        now = self._loop.time()
        for tp, cursor in self._cursors.items():
            since = cursor.troubled_since
            if not cursor.closed and tp not in self._paused and since is not None and now - since > PATIENCE:
                await asyncio.sleep(0)  # who tries again at once must not keep the loop from mending it
                raise BrokerUnavailable(
                    f"cannot read {cursor.trouble}", fix="check that the Kafka brokers are up and reachable"
                )

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return
