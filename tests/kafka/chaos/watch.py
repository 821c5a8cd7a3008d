"""What comes out of a chaos run, seen by a read_committed consumer of its own, and how long nothing came."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from time import monotonic
from typing import Any, TypeVar

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from tests.kafka.chaos.flow import Done, done, events

_LOOK, _REOPEN, _OPEN = 0.1, 6.0, 15.0
T = TypeVar("T")
_ECHO = 10.0
"""Seconds after a fault's end in which what begins may still come from it."""


class Strike(msgspec.Struct):
    """A fault as it went: seconds since the run began, and the waits that began with it.

    `waited` is the longest time for which events of one partition lay acknowledged and none of it came out; `silent`
    is that of all partitions together.
    """

    what: str
    begun: float
    ended: float | None = None
    waited: float = 0.0
    silent: float = 0.0


class Pace:
    """When events went into each partition of the input, and when they came out."""

    def __init__(self) -> None:
        self.sent = self.processed = 0
        self.strikes: list[Strike] = []
        self.consumers: Counter[str] = Counter()
        """Why the consumer of the outputs was replaced, and how often."""
        self.longest = self.longest_silence = 0.0
        self._waiting: dict[int, deque[float]] = {p: deque() for p in range(events.node.partitions)}
        self._early: Counter[int] = Counter()
        self.begin()

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return monotonic() - self.began

    def begin(self) -> None:
        """Count time from now on."""
        self.began = self._last = monotonic()
        self._moved = dict.fromkeys(self._waiting, self.began)

    def acknowledged(self, partition: int) -> None:
        self.sent += 1
        if self._early[partition]:  # it came out before its sender was told that it is in
            self._early[partition] -= 1
        else:
            self._waiting[partition].append(monotonic())

    def came_out(self, partition: int) -> None:
        self.processed += 1
        self._moved[partition] = self._last = monotonic()
        if self._waiting[partition]:
            self._waiting[partition].popleft()
        else:
            self._early[partition] += 1

    @property
    def since(self) -> float:
        """For how long nothing has come out, though there is something to come."""
        oldest = min((w[0] for w in self._waiting.values() if w), default=monotonic())
        return monotonic() - max(self._last, oldest)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds."""
        while not condition():  # noqa: ASYNC110  (other processes bring it about)
            await asyncio.sleep(_LOOK)

    def standing(self) -> dict[int, str]:
        """Tell what waits in each partition of the input."""
        now = monotonic()
        return {p: f"{len(w)} for {now - max(w[0], self._moved[p]):.1f} s" for p, w in self._waiting.items() if w}

    @property
    def wait(self) -> float:
        """For how long nothing has come out of the partition of which that is true the longest."""
        now = monotonic()
        return max((now - max(w[0], self._moved[p]) for p, w in self._waiting.items() if w), default=0.0)

    def look(self) -> None:
        """Note the waits that are under way, with the faults they came with."""
        now = monotonic()
        for partition, waiting in self._waiting.items():
            if waiting:
                wait = now - max(waiting[0], self._moved[partition])
                self.longest = max(self.longest, wait)
                for strike in self._blamed(now - wait):
                    strike.waited = max(strike.waited, wait)
        self.longest_silence = max(self.longest_silence, self.since)
        for strike in self._blamed(now - self.since):
            strike.silent = max(strike.silent, self.since)

    def _blamed(self, start: float) -> list[Strike]:
        """Return the faults that a wait which began then may come from: those under way, and the last that ended."""
        start -= self.began
        return [
            s for s in self.strikes if s.begun - 2 * _LOOK <= start and (s.ended is None or start < s.ended + _ECHO)
        ]

    async def keep_looking(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(_LOOK)


async def follow(bootstrap: str, pace: Pace, partition_of: dict[str, int]) -> None:
    """Read the committed outputs as they come, until cancelled.

    A consumer for which nothing comes is replaced by a new one, at the same place: aiokafka's does not always find its
    way back after brokers have died, and what is measured here is not that.
    """
    decode = msgspec.json.Decoder(Done).decode
    seen: set[tuple[str, int]] = set()
    places = {TopicPartition(done.name, p): 0 for p in range(done.node.partitions)}
    while True:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            isolation_level="read_committed",
            auto_offset_reset="none",
            enable_auto_commit=False,
            metadata_max_age_ms=2_000,
            request_timeout_ms=5_000,
        )
        try:
            await _within(consumer.start(), _OPEN)
            consumer.assign(list(places))
            for tp, offset in places.items():
                consumer.seek(tp, offset)
            opened = pace.now
            while pace.now - opened < _REOPEN or pace.wait < _REOPEN:
                for tp, records in (await _within(consumer.getmany(timeout_ms=200), _OPEN)).items():
                    for output in (decode(record.value) for record in records):
                        if (output.range, output.number) not in seen:  # at least once some come again
                            seen.add((output.range, output.number))
                            pace.came_out(partition_of[output.range])
                    places[tp] = records[-1].offset + 1
            pace.consumers["nothing came"] += 1
        except (KafkaError, OSError, TimeoutError) as error:
            pace.consumers[f"{type(error).__name__}: {error}"] += 1
            await asyncio.sleep(_LOOK)
        finally:
            with suppress(KafkaError, OSError, TimeoutError):
                await _within(consumer.stop(), _REOPEN)


async def _within(work: Coroutine[Any, Any, T], seconds: float) -> T:
    """Await work for so long; unlike `wait_for`, do not wait for its end after that: aiokafka's may never come."""
    task = asyncio.create_task(work)
    done, _ = await asyncio.wait([task], timeout=seconds)
    if not done:
        task.cancel()
        raise TimeoutError(f"not within {seconds:g} s")
    if task.cancelled():  # by aiokafka, when a connection breaks; let through, it would end us without a word
        raise TimeoutError("aiokafka gave up")
    return task.result()
