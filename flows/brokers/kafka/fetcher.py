"""Fetch for all readers of a process: few long-waiting requests to each broker, none of which holds another up."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiokafka.errors import CorruptRecordException
from aiokafka.protocol.fetch import FetchRequest

from flows.brokers.base import TopicPartition
from flows.brokers.kafka.cluster import Cluster
from flows.brokers.kafka.cursor import Cursor
from flows.brokers.kafka.decode import Aborted, Chunk, decode
from flows.brokers.kafka.faults import RETRIABLE, STALE, Code, Lost, Refused, fault, name_of
from flows.brokers.kafka.offsets import EARLIEST, LATEST, READ_COMMITTED, by_topic, list_offsets
from flows.errors import BrokerError, OffsetOutOfRange

LANES = 4
"""Requests that may wait at one broker at the same time, each on a connection of its own.

A request waits until one of its partitions has something. A partition that was left out of it, since enough of it lay
here, must not wait along once it is taken: it goes on another lane.
"""

_WAIT_MS = 500
_REQUEST_BYTES, _PARTITION_BYTES = 8 << 20, 1 << 20
_LARGE = 64 << 10
"""Bytes of a response from which on it is decoded in a thread: some 700 records, 0.4 ms."""

_UNKNOWN_SECONDS = 5.0
Answer = tuple[Cursor, int, int, list[Aborted], bytes]


class Fetcher:
    """Keep the cursors' buffers filled."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._loop = asyncio.get_running_loop()
        self._cursors: dict[int, Cursor] = {}
        self._fetches: dict[tuple[int, int], asyncio.Task[None]] = {}
        self._parser = ThreadPoolExecutor(1, thread_name_prefix="flows-kafka-decode")
        self._refreshing: asyncio.Task[None] | None = None
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._turn = itertools.count()

    def follow(self, cursor: Cursor) -> None:
        """Begin to fetch for a cursor."""
        self._cursors[id(cursor)] = cursor
        self.look()

    def leave(self, cursor: Cursor) -> None:
        """Fetch no more for a cursor."""
        cursor.close()
        self._cursors.pop(id(cursor), None)

    def look(self) -> None:
        """Send what is wanted, once what goes on in this turn of the loop is over."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._dispatch)

    async def close(self) -> None:
        """End all requests."""
        for cursor in list(self._cursors.values()):
            self.leave(cursor)
        tasks = [*self._fetches.values(), *([self._refreshing] if self._refreshing else [])]
        for task in tasks:
            task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self._parser.shutdown)

    def _dispatch(self) -> None:
        self._scheduled = False
        now = self._loop.time()
        nodes: dict[int, dict[TopicPartition, Cursor]] = {}
        later: list[float] = []
        unled: set[str] = set()
        for cursor in self._cursors.values():
            if not cursor.wants:
                continue
            if cursor.not_before > now:
                later.append(cursor.not_before)
                continue
            leader = self._cluster.leader(cursor.tp)
            if leader is None:
                unled.add(cursor.tp.topic)
            else:
                # A request has a partition once: another reader of it takes the next lane.
                nodes.setdefault(leader, {}).setdefault(cursor.tp, cursor)
        for node, cursors in nodes.items():
            lane = next((lane for lane in range(LANES) if (node, lane) not in self._fetches), None)
            if lane is not None:
                self._begin(node, lane, cursors)
        if unled:
            self._refresh(unled)
        if later:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(min(later), self.look)

    def _begin(self, node: int, lane: int, cursors: dict[TopicPartition, Cursor]) -> None:
        for cursor in cursors.values():
            cursor.fetching = True
        task = self._loop.create_task(self._fetch(node, lane, cursors))
        self._fetches[node, lane] = task

        def done(task: asyncio.Task[None]) -> None:
            self._fetches.pop((node, lane), None)
            error = None if task.cancelled() else task.exception()
            for cursor in cursors.values():
                cursor.fetching = False
                if error is not None:  # the reader must learn of it: nobody else waits for this task
                    cursor.failed(BrokerError(f"cannot read {cursor.tp}: {type(error).__name__}: {error}"))
            self.look()

        task.add_done_callback(done)
        if any(cursor.wants for cursor in self._cursors.values()):
            self.look()  # the same partition again, for another reader

    async def _fetch(self, node: int, lane: int, cursors: dict[TopicPartition, Cursor]) -> None:
        # The broker fills an answer in the order asked for, up to its size: another partition is first each time.
        order = list(cursors)
        first = next(self._turn) % len(order)
        wanted = {tp: cursors[tp].next_fetch for tp in order[first:] + order[:first]}
        topics = [
            (topic, [(partition, offset, _PARTITION_BYTES) for partition, offset in partitions])
            for topic, partitions in by_topic(wanted)
        ]
        request = FetchRequest(_WAIT_MS, 1, _REQUEST_BYTES, READ_COMMITTED, topics)
        try:
            response = await self._cluster.send(node, request, ("fetch", lane))
        except Lost as lost:
            self._hold_up(cursors.values(), str(lost))
            return
        except BrokerError as error:
            for cursor in cursors.values():
                cursor.failed(error)
            return
        if response.error_code:
            self._hold_up(cursors.values(), name_of(response.error_code))
            return
        await self._take(_answers(response, cursors))

    async def _take(self, answers: list[Answer]) -> None:
        good = [answer for answer in answers if not answer[1] and not answer[0].closed]
        for cursor, error, *_ in answers:
            if error and not cursor.closed:
                await self._refused(cursor, error)
        try:
            if sum(len(answer[4]) for answer in good) < _LARGE:
                chunks = _decode_all(good)
            else:
                chunks = await self._loop.run_in_executor(self._parser, _decode_all, good)
        except (CorruptRecordException, ValueError) as error:
            self._hold_up([answer[0] for answer in good], str(error))
            return
        for (cursor, *_), chunk in zip(good, chunks, strict=True):
            if not cursor.closed:
                cursor.arrived(chunk)

    async def _refused(self, cursor: Cursor, error: int) -> None:
        if error == Code.OFFSET_OUT_OF_RANGE:
            await self._out_of_range(cursor)
        elif self._is_final(cursor, error):
            cursor.failed(fault(Refused(error), f"cannot read {cursor.tp}"))
        else:
            self._hold_up([cursor], name_of(error), stale=error in STALE)

    async def _out_of_range(self, cursor: Cursor) -> None:
        tp, wanted = cursor.tp, cursor.next_fetch
        try:
            start = (await list_offsets(self._cluster, [tp], EARLIEST))[tp]
            end = (await list_offsets(self._cluster, [tp], LATEST))[tp]
        except BrokerError as error:
            self._hold_up([cursor], str(error))
            return
        if start <= wanted <= end:  # a new leader that had to catch up
            self._hold_up([cursor], "its leader has only just taken over")
            return
        cursor.failed(
            OffsetOutOfRange(
                f"{tp}: offset {wanted} is not in the partition, which holds {start} to {end}",
                wanted=wanted,
                start=start,
                end=end,
            )
        )

    def _hold_up(self, cursors: Any, trouble: str, *, stale: bool = True) -> None:
        now = self._loop.time()
        for cursor in cursors:
            cursor.held_up(f"{cursor.tp}: {trouble}", now)
        if stale:
            self._refresh({cursor.tp.topic for cursor in cursors})

    def _refresh(self, topics: set[str]) -> None:
        """Ask for the leaders in the background, once at a time."""
        if self._refreshing is None:
            self._refreshing = self._loop.create_task(self._learn_leaders(topics))

    async def _learn_leaders(self, topics: set[str]) -> None:
        trouble = ""
        try:
            await self._cluster.refresh(topics)
        except Lost as lost:
            trouble = str(lost)
        finally:
            self._refreshing = None
        for cursor in list(self._cursors.values()):
            if cursor.tp.topic in topics and cursor.wants and self._cluster.leader(cursor.tp) is None:
                self._leaderless(cursor, trouble)
        self.look()

    def _leaderless(self, cursor: Cursor, trouble: str) -> None:
        error, now = self._cluster.error(cursor.tp) or Code.LEADER_NOT_AVAILABLE, self._loop.time()
        if not trouble and self._is_final(cursor, error):
            cursor.failed(fault(Refused(error), f"cannot read {cursor.tp}"))
        else:
            cursor.held_up(f"{cursor.tp}: {trouble or name_of(error)}", now)

    def _is_final(self, cursor: Cursor, error: int) -> bool:
        if error == Code.UNKNOWN_TOPIC_OR_PARTITION:  # not known to all brokers yet, or deleted
            now = self._loop.time()
            return now - (cursor.troubled_since or now) > _UNKNOWN_SECONDS
        return error not in RETRIABLE and error != Code.CORRUPT_MESSAGE


def _answers(response: Any, cursors: dict[TopicPartition, Cursor]) -> list[Answer]:
    found: list[Answer] = []
    for topic, partitions in response.topics:
        for partition, error, _, _, _, aborted, *_, data in partitions:
            cursor = cursors[TopicPartition(topic, partition)]
            transactions = [Aborted(*each) for each in aborted or ()]
            found.append((cursor, error, cursor.next_fetch, transactions, data or b""))
    return found


def _decode_all(answers: Sequence[Answer]) -> list[Chunk]:
    return [decode(cursor.tp, data, position, aborted) for cursor, _, position, aborted, data in answers]
