"""Dead letters go back to where they came from, each once, whoever asks and however often.

Which letters were driven again is said in the topic APP-redriven, in one transaction with the records themselves: so
either both are there or neither. One worker drives at a time: the last that took the transactional id APP-redrive over.

1. Take the id over. From here on nobody else drives, and what another had begun is there, or never will be.
2. Read the topic APP-redriven on to its end: the book now says which letters were driven again.
3. Of the letters that are asked for pass those over; leave those that cannot go back, with the reason.
4. Write the others to the topics and partitions that they came from, and their offsets to the book, in one transaction.
   Go on with the next ones.

A record goes back with its key, value, timestamp and headers, and with one header more, `redriven`, that has the
letter's offset. If it is refused again it is another letter.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections.abc import AsyncIterable, Iterable

import msgspec

from dsl.plan.graph import Plan
from flows.brokers.base import Broker, Headers, Outgoing, Producer, TopicPartition, TopicSpec, Transaction
from flows.clock import Clock
from flows.compile.names import dead_letters
from flows.run.reading import read_records
from flows.web.topics import Left, Redriven

log = logging.getLogger("flows.redrive")

REDRIVEN = "redriven"
_MOST, _MOST_BYTES = 500, 4 << 20
"""Letters and bytes of one transaction."""
_MOST_LEFT = 100


def redriven_topic(app: str) -> str:
    """Name the topic that says which dead letters were driven again: made at the first one."""
    return f"{app}-redriven"


class Offsets:
    """A set of offsets, kept as ranges.

    >>> found = Offsets()
    >>> found.add([3, 4, 5, 9])
    >>> found.ranges, 4 in found, 6 in found, len(found)
    ([(3, 6), (9, 10)], True, False, 4)
    """

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []

    def __contains__(self, offset: int) -> bool:
        place = bisect_right(self.ranges, (offset, 1 << 63)) - 1
        return place >= 0 and offset < self.ranges[place][1]

    def __len__(self) -> int:
        return sum(end - start for start, end in self.ranges)

    def add(self, offsets: Iterable[int]) -> None:
        """Add offsets."""
        self.add_ranges((offset, offset + 1) for offset in offsets)

    def add_ranges(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Add ranges, each without its end."""
        merged: list[tuple[int, int]] = []
        for start, end in sorted([*self.ranges, *ranges]):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        self.ranges = merged


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter as it is stored: its offset, and the record that it was, with where that came from."""

    offset: int
    at: int
    key: bytes | None
    value: bytes | None
    reason: str
    step: str
    topic: str
    partition: int
    original_offset: int
    timestamp: int
    truncated: bool
    headers: Headers

    @property
    def size(self) -> int:
        """The bytes of its key and value."""
        return len(self.key or b"") + len(self.value or b"")


class _Entry(msgspec.Struct):
    """A record of the book."""

    ranges: list[tuple[int, int]]


class Redriver:
    """Drives dead letters of an app; see the module for the protocol."""

    def __init__(self, plan: Plan, broker: Broker, clock: Clock) -> None:
        self._plan, self._broker, self._clock = plan, broker, clock
        self._tp = TopicPartition(redriven_topic(plan.app), 0)
        self._read_from = {topic for part in plan.subtopologies for topic in part.inputs}
        self._position = 0
        self._driving, self._reading = asyncio.Lock(), asyncio.Lock()
        self.book = Offsets()

    async def look(self) -> Offsets:
        """Return which letters were driven again, as far as it is committed."""
        async with self._reading:
            if self._tp.topic in await self._broker.topics():
                end = (await self._broker.end_offsets([self._tp]))[self._tp]
                async for records in read_records(self._broker, {self._tp: self._position}, {self._tp: end}, None):
                    for value in records.values:
                        self.book.add_ranges(msgspec.json.decode(value or b"", type=_Entry).ranges)
                self._position = max(self._position, end)
        return self.book

    async def drive(self, letters: AsyncIterable[Letter]) -> Redriven:
        """Drive letters again. Raises `Fenced` where another worker does so, `OutcomeUnknown`, `BrokerUnavailable`."""
        async with self._driving:
            await self._broker.create_topic(TopicSpec(name=self._tp.topic, retention=None, internal=True))
            # 1
            producer = await self._broker.producer(f"{self._plan.app}-redrive")
            try:
                # 2
                await self.look()
                return await self._drive(producer, letters)
            finally:
                await producer.close()

    async def _drive(self, producer: Producer, letters: AsyncIterable[Letter]) -> Redriven:
        partitions = {name: spec.partitions for name, spec in (await self._broker.topics()).items()}
        waiting: list[Letter] = []
        driven = before = 0
        left: list[Left] = []
        # 3
        async for letter in letters:
            if letter.offset in self.book:
                before += 1
                continue
            reason = self._hindrance(letter, partitions)
            if reason is not None:
                left.append(Left(letter.offset, reason))
                continue
            if len(waiting) == _MOST or (waiting and sum(w.size for w in waiting) + letter.size > _MOST_BYTES):
                driven += await self._commit(producer, waiting)
                waiting = []
            waiting.append(letter)
        if waiting:
            driven += await self._commit(producer, waiting)
        log.info("%d dead letters are driven again, %d cannot be", driven, len(left))
        return Redriven(redriven=driven, before=before, left=left[:_MOST_LEFT])

    async def _commit(self, producer: Producer, letters: list[Letter]) -> int:
        # 4
        outputs: dict[TopicPartition, Outgoing] = {}
        for letter in letters:
            out = outputs.setdefault(TopicPartition(letter.topic, letter.partition), Outgoing())
            out.append(letter.key, letter.value, letter.timestamp, _headers(letter))
        entry = Offsets()
        entry.add(letter.offset for letter in letters)
        said = outputs.setdefault(self._tp, Outgoing())
        said.append(None, msgspec.json.encode(_Entry(entry.ranges)), int(self._clock.now() * 1000))
        await producer.commit(Transaction(group="", outputs=outputs))
        self.book.add_ranges(entry.ranges)
        return len(letters)

    def _hindrance(self, letter: Letter, partitions: dict[str, int]) -> str | None:
        """Say why a letter cannot go back, None where it can."""
        if letter.topic not in self._read_from:
            return f"the app does not read the topic {letter.topic[:100]!r}"
        if letter.topic not in partitions:
            return f"the topic {letter.topic!r} is gone"
        if not 0 <= letter.partition < partitions[letter.topic]:
            return f"the topic {letter.topic!r} has no partition {letter.partition}"
        if letter.truncated:
            return f"its value was cut; the whole is at {letter.topic}/{letter.partition}@{letter.original_offset}"
        if letter.size > self._broker.max_record_bytes:
            return f"it has {letter.size} bytes, more than the broker takes"
        return None


def letters_partition(app: str) -> TopicPartition:
    """Return where an app's dead letters are."""
    return TopicPartition(dead_letters(app), 0)


def _headers(letter: Letter) -> Headers:
    own = tuple(header for header in letter.headers if header[0] != REDRIVEN)
    return (*own, (REDRIVEN, str(letter.offset).encode()))
