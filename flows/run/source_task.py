"""Sources: functions that feed a topic, exactly once, because their position is committed with what they wrote."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from dsl.plan.nodes import SourceNode, TopicNode
from flows.brokers.base import Committed, Outgoing, Producer, TopicPartition, Transaction
from flows.compile.context import topic_encoders
from flows.decode.times import EventTimes
from flows.errors import BrokerUnavailable, FlowsError
from flows.operate.base import NO_TIME
from flows.run.environment import Environment

log = logging.getLogger("flows.source")

END = "end"
"""The metadata of a source's position once its function had no more to give."""

_CHUNK = 2_000
_PACED_CHUNK = 500
_AHEAD = 40_000
_PAUSE = 0.005
_RETRY = 0.5

SourceProgress = Callable[[str, int, int | None], None]
"""Called with the source's step, the records written, and how many there will be, where that is known."""


def source_group(app: str, step: str) -> str:
    """Name the group that a source's position is committed to."""
    return f"{app}.{step}"


def source_task_id(step: str) -> str:
    """Name a source's task in the worker group."""
    return f"source:{step}"


def position_of(topic: str) -> TopicPartition:
    """Return the partition that a source's position is kept under."""
    return TopicPartition(topic, 0)


class SourceTask:
    """One source, run by the member of the group that holds its task."""

    def __init__(self, env: Environment, node: SourceNode, speed: float | None, progress: SourceProgress) -> None:
        topic = env.plan.topic(node.topic)
        assert topic is not None
        self.env, self.node, self.id = env, node, source_task_id(node.id)
        self.position = 0
        self.finished = False
        self._topic: TopicNode = topic
        self._speed, self._progress = speed, progress
        self._function = env.plan.functions[node.id]
        encoders = topic_encoders(env.plan, env.codecs, env.broker.max_record_bytes, self._now_ms)
        self._encoder = encoders.of(node.topic)
        self._partitions = [TopicPartition(node.topic, p) for p in range(topic.partitions)]
        self._consumed = bool(env.plan.consumers(topic.id))
        self.stopped = asyncio.Event()
        self._count = env.plan.functions.get(f"{node.id}.total")
        self._total: int | None = None

    def _now_ms(self) -> int:
        return int(self.env.clock.now() * 1000)

    async def run(self) -> None:
        """Feed the topic until the function ends or the task is stopped.

        1. A new producer of the source's transactional id fences whoever ran it before.
        2. Read the committed position and call the function with it.
        3. Write the next records together with the position behind them, in one transaction; repeat.
        """
        group, place = source_group(self.env.group, self.node.id), position_of(self.node.topic)
        # 1
        producer = await self.env.broker.producer(f"{group}.source")
        try:
            # 2
            committed = (await self.env.broker.committed(group, [place])).get(place, Committed(0))
            self.position = committed.offset
            if self._count is not None:
                self._total = int(await asyncio.to_thread(self._count))
            records = _Chunks(await asyncio.to_thread(self._call, committed.offset))
            pace = _Pace(self._speed, self._topic, self.env, self.stopped)
            # 3
            while not self.stopped.is_set():
                await self._wait_for_consumers()
                values = await records.take(pace.chunk(_CHUNK))
                if not values:
                    break
                async for part in pace.parts(values):
                    await self._write(producer, group, place, part, "")
                    if self.stopped.is_set():
                        break
            if not self.stopped.is_set():
                await self._write(producer, group, place, [], END)
                self.finished = True
                log.info("source %s is at its end: %d records", self.node.id, self.position)
        finally:
            await producer.close()

    def stop(self) -> None:
        """End after the transaction that is under way."""
        self.stopped.set()

    @property
    def total(self) -> int | None:
        """How many records there will be, where the declaration tells."""
        return self._total

    def _call(self, position: int) -> Iterator[Any] | AsyncIterator[Any]:
        found = self._function(position)
        if not isinstance(found, AsyncIterator) and not hasattr(found, "__iter__"):
            raise FlowsError(f"source {self.node.id!r} returned {type(found).__name__}", fix="yield records from it")
        return found if isinstance(found, AsyncIterator) else iter(found)

    async def _write(
        self, producer: Producer, group: str, place: TopicPartition, values: list[Any], metadata: str
    ) -> None:
        outputs: dict[TopicPartition, Outgoing] = {}
        for value in values:
            topic, partition, key, data, timestamp, headers = self._encoder.encode(value)
            out = outputs.setdefault(TopicPartition(topic, partition), Outgoing())
            out.append(key, data, timestamp, headers)
        position = self.position + len(values)
        transaction = Transaction(group=group, outputs=outputs, offsets={place: Committed(position, metadata)})
        while True:
            try:
                await producer.commit(transaction)
                break
            except BrokerUnavailable as error:
                self.env.metrics.trouble(f"source {self.node.id}: {error}")
                await asyncio.sleep(_RETRY)
        self.position = position
        self.env.metrics.fed[self._topic.name] += len(values)
        self._progress(self.node.id, position, self.total)

    async def _wait_for_consumers(self) -> None:
        """Hold back while the app is far behind: the topic is no place to keep a whole data set waiting."""
        while self._consumed and not self.stopped.is_set():
            ends = await self.env.broker.end_offsets(self._partitions)
            done = await self.env.broker.committed(self.env.group, self._partitions, stable=False)
            starts = await self.env.broker.start_offsets([tp for tp in self._partitions if tp not in done])
            behind = sum(ends[tp] - (done[tp].offset if tp in done else starts[tp]) for tp in self._partitions)
            if behind < _AHEAD:
                return
            await asyncio.sleep(_PAUSE)


class _Chunks:
    """Take records from a generator of either kind; a plain one runs in a thread, since it may read files."""

    def __init__(self, records: Iterator[Any] | AsyncIterator[Any]) -> None:
        self._records = records

    async def take(self, count: int) -> list[Any]:
        if isinstance(self._records, AsyncIterator):
            values: list[Any] = []
            async for value in self._records:
                values.append(value)
                if len(values) >= count:
                    break
            return values
        return await asyncio.to_thread(lambda: list(itertools.islice(self._records, count)))  # type: ignore[arg-type]


class _Pace:
    """Replay at a multiple of the pace of the event times."""

    def __init__(self, speed: float | None, topic: TopicNode, env: Environment, stopped: asyncio.Event) -> None:
        self._speed, self._env, self._field, self._stopped = speed, env, topic.timestamp, stopped
        self._times = EventTimes(topic, env.clock.now, 0.0)
        self._begun: tuple[float, int] | None = None

    def chunk(self, most: int) -> int:
        return most if self._speed is None else _PACED_CHUNK

    async def parts(self, values: list[Any]) -> AsyncIterator[list[Any]]:
        """Yield the records in the parts in which they are due, each when it is."""
        if self._speed is None or self._field is None:
            yield values
            return
        dues = self._dues(values, self._speed)
        done = 0
        while done < len(values):
            now = self._env.clock.monotonic()
            if dues[done] > now:
                try:
                    await asyncio.wait_for(self._stopped.wait(), dues[done] - now)
                    return
                except TimeoutError:
                    now = self._env.clock.monotonic()
            upto = next((i for i in range(done, len(values)) if dues[i] > now), len(values))
            upto = max(upto, done + 1)
            yield values[done:upto]
            done = upto

    def _dues(self, values: list[Any], speed: float) -> list[float]:
        """Return when each record is due; one without an event time is due with the one before it."""
        if self._begun is None:
            first = next((t for t in self._times.of_values(values).tolist() if t != NO_TIME), None)
            if first is None:
                return [0.0] * len(values)
            self._begun = (self._env.clock.monotonic(), first)
        begun, first = self._begun
        dues, due = [], begun
        for time in self._times.of_values(values).tolist():
            if time != NO_TIME:
                due = max(due, begun + (time - first) / 1_000_000 / speed)
            dues.append(due)
        return dues
