"""Bring a task's state up to its changelogs: replay from the stored positions until position >= end.

Run it after the task's producer has fenced older ones, so that nobody else writes these partitions any more.
Records are never counted, since offsets have holes where control records or compacted rows were.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

import msgspec

from flows.brokers.base import Records, TopicPartition
from flows.clock import Clock, SystemClock
from flows.errors import BrokerUnavailable, OffsetOutOfRange, StateError
from flows.state.base import Logs, Store
from flows.state.keys import RESERVED_PREFIX
from flows.state.restore_target import Target, target_of
from flows.state.task_state import TaskState
from flows.state.to_the_end import to_the_end

TOMBSTONE_RETENTION = 7 * 86400.0
"""Seconds that compaction leaves tombstones in a changelog."""

_FETCH_RECORDS = 20_000
_WRITE_ENTRIES = 100_000
_POLL = 0.2
_REBUILDS = 3

Progress = Callable[[str, int, int, float], None]
"""Called with table, offsets done, offsets in total, and records a second over all tables."""


Probe = Callable[[str], None]
"""Called at each numbered step; tests raise there to crash the restore."""


class Replay(msgspec.Struct):
    """The way of one table through its changelog: from `first` over `position` to `end`."""

    table: str
    tp: TopicPartition
    first: int
    end: int
    position: int

    @property
    def done(self) -> bool:
        return self.position >= self.end

    def out_of(self, start: int, end: int) -> bool:
        return not start <= self.position <= end


async def restore(
    target: Store | TaskState,
    broker: Logs,
    changelogs: Mapping[str, TopicPartition],
    progress: Progress = lambda table, done, total, rate: None,
    *,
    stall_after: float = 30.0,
    tombstone_retention: float = TOMBSTONE_RETENTION,
    clock: Clock | None = None,
    probe: Probe = lambda step: None,
) -> dict[str, bytes]:
    """Replay the changelogs of these tables and return the metadata (fingerprint) of each table that has one.

    `target` is a store; or a `TaskState` over a store that is read-only, which then holds the tail in memory.

    1. Read start and end of every changelog, and the positions and the time of the last write from the store.
    2. Tables that do not exist are created. A table whose position lies outside of its changelog or is of another
       topic, which had its name before, or that missed tombstones because the store was away for longer than
       `tombstone_retention` seconds, is dropped and begins at the changelog's start. The id of the topic is kept from
       then on.
    3. Replay all tables together. A fingerprint is stored as soon as it is read: before the position passes it.
    4. Now and then, and at the end, the rows read so far are written, at once with the position behind them.
    5. Once every position has reached its changelog's end, the fingerprints are read from the store.

    If the broker dropped records on the way (`OffsetOutOfRange`), it goes back to 1.

    Raises `BrokerUnavailable` when nothing moves for `stall_after` seconds, naming the changelog, and what the
    broker and the store raise. A cancelled or failed restore goes on from the last write.
    """
    clock = clock or SystemClock()
    sink = target_of(target)
    rebuilds = 0
    while True:
        replays = await _plan(sink, broker, changelogs, clock.now() - tombstone_retention, probe)
        try:
            await _Run(sink, broker, replays, progress, stall_after, clock, probe).run()
        except OffsetOutOfRange:
            rebuilds += 1
            if rebuilds > _REBUILDS:
                raise
            continue
        # 5
        probe("restore 5")
        return {table: found for table in changelogs if (found := sink.metadata(table)) is not None}


async def _plan(
    sink: Target, broker: Logs, changelogs: Mapping[str, TopicPartition], too_old: float, probe: Probe
) -> list[Replay]:
    # 1
    tps = list(changelogs.values())
    ids = await broker.topic_ids([tp.topic for tp in tps])  # first: of a topic made meanwhile the offsets may be read
    # With what is written: a transaction that a dead holder left open hides what was committed after it.
    starts, ends = await broker.start_offsets(tps), await broker.end_offsets(tps, written=True)
    positions, last_write = sink.positions(), sink.last_write()
    probe("restore 1")
    # 2
    away_too_long = last_write is not None and last_write < too_old
    replays = []
    for table, tp in changelogs.items():
        stored = positions.get(table)
        replay = Replay(table, tp, starts[tp], ends[tp], starts[tp] if stored is None else stored)
        missed = away_too_long and not replay.done
        known, id_ = sink.changelog_id(table), ids.get(tp.topic)
        is_another = None not in (known, id_) and known != id_
        if stored is None and sink.is_empty(table):
            await to_the_end(asyncio.to_thread(sink.create, table))
        elif stored is None or replay.out_of(starts[tp], ends[tp]) or missed or is_another:
            await to_the_end(asyncio.to_thread(sink.reset, table))
            replay.position = starts[tp]
            known = None
        if id_ is not None and id_ != known:
            # Only now: a crash before it leaves rows with the id of their own changelog, or none.
            await to_the_end(asyncio.to_thread(sink.set_changelog_id, table, id_))
        replay.first = replay.position
        replays.append(replay)
        probe("restore 2")
    return replays


class _Run:
    """Steps 3 and 4: one reader over all tables that are behind, and one write under way while the next is fetched."""

    def __init__(
        self,
        sink: Target,
        broker: Logs,
        replays: list[Replay],
        progress: Progress,
        stall_after: float,
        clock: Clock,
        probe: Probe,
    ) -> None:
        self._sink, self._broker, self._progress = sink, broker, progress
        self._stall_after, self._clock, self._probe = stall_after, clock, probe
        self._replays = {replay.tp: replay for replay in replays}
        self._began = self._moved = clock.monotonic()
        self._records = 0
        self._batch: dict[str, dict[bytes, bytes | None]] = {}
        self._writing: asyncio.Future[None] | None = None

    async def run(self) -> None:
        behind = {tp: replay.position for tp, replay in self._replays.items() if not replay.done}
        if behind:
            self._report(self._replays.values())  # all of them, so that the whole is known from the beginning
            reader = self._broker.reader(behind)
            try:
                # 3
                while left := [tp for tp in behind if not self._replays[tp].done]:
                    self._take(await reader.fetch(_FETCH_RECORDS, _POLL))
                    self._move({tp: reader.position(tp) for tp in left})
                    self._probe("restore 3")
                    reader.pause([tp for tp in left if self._replays[tp].done])
                    if sum(map(len, self._batch.values())) >= _WRITE_ENTRIES:
                        await self._write()
            finally:
                await reader.close()
                await self._finish_write()
        await self._write()
        await self._finish_write()
        self._report(self._replays.values())

    def _take(self, fetched: Iterable[Records]) -> None:
        for records in filter(len, fetched):
            table = self._replays[records.tp].table
            self._batch.setdefault(table, {}).update(self._rows(table, records))
            self._records += len(records)

    def _rows(self, table: str, records: Records) -> Iterable[tuple[bytes, bytes | None]]:
        if None in records.keys:
            offset = records.offsets[records.keys.index(None)]
            raise StateError(
                f"the changelog {records.tp} of table {table!r} has a record without a key at offset {offset}",
                fix="nobody but Flows may write to a changelog; `flows reset` starts the table anew",
            )
        keys = cast(Sequence[bytes], records.keys)
        rows = zip(keys, records.values, strict=True)
        return rows if max(keys) < RESERVED_PREFIX else self._split_metadata(table, rows)

    def _split_metadata(
        self, table: str, rows: Iterable[tuple[bytes, bytes | None]]
    ) -> Iterable[tuple[bytes, bytes | None]]:
        for key, value in rows:
            if key < RESERVED_PREFIX:
                yield key, value
            elif value is not None:
                self._sink.set_metadata(table, value)

    def _move(self, positions: Mapping[TopicPartition, int]) -> None:
        """Note how far each table has come; raises when none has moved for too long."""
        moved = [self._replays[tp] for tp, to in positions.items() if to > self._replays[tp].position]
        for tp, position in positions.items():
            self._replays[tp].position = position
        now = self._clock.monotonic()
        if moved:
            self._moved = now
            self._report(moved)
        elif now - self._moved >= self._stall_after:
            stuck = next(replay for replay in self._replays.values() if not replay.done)
            raise BrokerUnavailable(
                f"restoring table {stuck.table!r} stopped at offset {stuck.position} of {stuck.end} in {stuck.tp}: "
                f"nothing came for {self._stall_after:g} s",
                fix="see whether the broker serves that partition and no transaction hangs on it",
            )

    def _report(self, replays: Iterable[Replay]) -> None:
        seconds = self._clock.monotonic() - self._began
        rate = self._records / seconds if seconds > 0 else 0.0
        for replay in replays:
            done = min(replay.position, replay.end) - replay.first
            self._progress(replay.table, done, replay.end - replay.first, rate)

    async def _write(self) -> None:
        """Start writing what has gathered, with the positions it brings the tables to."""
        # 4
        await self._finish_write()
        self._probe("restore 4")
        batch, self._batch = self._batch, {}
        positions = {replay.table: replay.position for replay in self._replays.values()}
        self._writing = asyncio.ensure_future(asyncio.to_thread(self._sink.apply, batch, positions))

    async def _finish_write(self) -> None:
        writing = self._writing
        if writing is not None:
            try:
                await to_the_end(writing)
            finally:
                self._writing = None
