"""One partition as one reader follows it: what is fetched and not yet taken, and what stands in the way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from flows.brokers.base import Records, TopicPartition
from flows.brokers.kafka.decode import Chunk, join
from flows.errors import BrokerError

ENOUGH = 1 << 20
"""Bytes waiting to be taken from which on no more is fetched; one fetch may bring that much again."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0


class Cursor:
    """A place in a partition. `position` is what the reader takes next, `next_fetch` what the broker is asked next."""

    def __init__(self, tp: TopicPartition, position: int, wake: Callable[[], None]) -> None:
        self.tp, self.position, self.next_fetch = tp, position, position
        self.error: BrokerError | None = None
        self.fetching = self.closed = False
        self.not_before = 0.0
        self.trouble = ""
        self.troubled_since: float | None = None
        self._pause = _FIRST_PAUSE
        self._wake = wake
        self._chunks: deque[Chunk] = deque()
        self._waiting = 0

    @property
    def wants(self) -> bool:
        """Tell whether a fetch for it should go out."""
        return not (self.fetching or self.closed or self.error is not None) and self._waiting < ENOUGH

    def arrived(self, chunk: Chunk) -> None:
        """Add what a fetch brought."""
        self.trouble, self.troubled_since, self._pause = "", None, _FIRST_PAUSE
        if chunk.next_offset == self.next_fetch:
            return
        self.next_fetch = chunk.next_offset
        self._waiting += chunk.size
        self._chunks.append(chunk)
        self._wake()

    def failed(self, error: BrokerError) -> None:
        """Hand an error that will stay to the reader."""
        self.error = error
        self._wake()

    def held_up(self, trouble: str, now: float) -> None:
        """Try again later, each time a little later; the reader learns of it when it lasts."""
        self.trouble = trouble
        if self.troubled_since is None:
            self.troubled_since = now
        self.not_before = now + self._pause
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        self._wake()

    def take(self, most: int) -> Records | None:
        """Take up to `most` records; moves the position, over holes too."""
        parts: list[Records] = []
        while self._chunks and most > 0:
            chunk = self._chunks.popleft()
            if chunk.records is None:
                self._waiting -= chunk.size
                self.position = chunk.next_offset
                continue
            records, rest = chunk.records.split(most)
            taken = chunk.size if rest is None else chunk.size * len(records) // len(chunk.records)
            if rest is not None:
                self._chunks.appendleft(Chunk(rest, chunk.next_offset, chunk.size - taken))
            self._waiting -= taken
            most -= len(records)
            self.position = records.next_offset
            parts.append(records)
        return join(parts) if parts else None

    def close(self) -> None:
        """Keep nothing and want nothing."""
        self.closed = True
        self._chunks.clear()
        self._waiting = 0
