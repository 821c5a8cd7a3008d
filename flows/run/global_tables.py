"""The global tables of a worker: read whole before its tasks start, and followed from then on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

from dsl.plan.nodes import GlobalTableNode
from flows.brokers.base import Reader, Records, TopicPartition
from flows.compile.global_tables import GlobalCopy, GlobalRows
from flows.compile.names import global_store
from flows.errors import BrokerUnavailable, FlowsError, OffsetOutOfRange
from flows.query.base import Change
from flows.run.environment import Environment
from flows.run.global_rows import RowLogs
from flows.run.stores import open_tables
from flows.state.base import StoreWrite
from flows.state.restore import restore
from flows.state.to_the_end import to_the_end

log = logging.getLogger("flows.global_tables")

TOMBSTONES = 86_400.0
"""Seconds that a topic of others keeps tombstones at least: `delete.retention.ms` as Kafka has it by default."""

_FETCH = 20_000
_WAIT = 1.0
_RETRY = 0.5


class GlobalTables:
    """Keep the environment's copies. `start` and `close` may be called again and again."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._followed = [_Followed(env, node) for node in env.plan.of_type(GlobalTableNode)]

    async def start(self) -> None:
        """Open the copies and bring them to the ends that their topics have now; tries while the broker is away."""
        await asyncio.gather(*(followed.start() for followed in self._followed))

    async def follow(self) -> None:
        """Take what comes, until cancelled."""
        await asyncio.gather(*(followed.follow() for followed in self._followed))

    async def catch_up(self) -> None:
        """Take what is there now."""
        for followed in self._followed:
            await followed.take(0.0)

    async def close(self) -> None:
        """Close the copies, which stay on disk."""
        for followed in self._followed:
            await followed.close()


class _Followed:
    """One global table.

    1. A copy of another shape than the plan's is dropped: the topic has all of it.
    2. Its positions are restored to the ends of the topic, as a task's changelogs are.
    3. What comes from there on is written with the positions behind it; then readers see it, and watchers are told.

    Where the topic has lost what comes next, it begins again with 2.
    """

    def __init__(self, env: Environment, node: GlobalTableNode) -> None:
        self._env, self._node, self._id = env, node, global_store(node.table)
        topic = env.plan.topic(node.topic)
        assert topic is not None
        dead = _Refused(env, self._id)
        rows = GlobalRows(env.plan, node, env.codecs.of(topic), env.clock.now, dead)
        self._logs = RowLogs(env.broker, rows, env.codecs.learn)
        self._reader: Reader | None = None

    async def start(self) -> None:
        node, open_store = self._node, self._env.open_store
        store = await to_the_end(asyncio.ensure_future(asyncio.to_thread(open_tables, open_store, self._id, ())))
        copy = self._env.copies[node.table] = GlobalCopy(self._env.plan, node, store)
        # 1
        for part in copy.parts:
            if store.metadata(part) not in (None, copy.fingerprint):
                store.drop_table(part)
            store.create_table(part)
        while True:
            try:
                return await self._restore()
            except BrokerUnavailable as error:
                log.warning("global table %s cannot be read, tries again: %s", node.table, error)
                self._env.metrics.trouble(f"global table {node.table}: {error}")
                await asyncio.sleep(_RETRY)

    async def _restore(self) -> None:
        # 2
        env, copy = self._env, self._copy
        await self._end_reading()
        places = {part: TopicPartition(self._logs.topic.name, partition) for partition, part in enumerate(copy.parts)}

        def progress(part: str, done: int, total: int, rate: float) -> None:
            env.progress(f"{self._id} {part}", self._node.table, done, total, rate)

        await restore(copy.store, self._logs, places, progress, tombstone_retention=TOMBSTONES, clock=env.clock)
        copy.store.set_metadata((part, copy.fingerprint) for part in copy.parts)
        copy.forget()
        positions = copy.store.positions()
        self._reader = self._logs.reader({tp: positions[part] for part, tp in places.items()})
        env.hub.miss(self._node.table)

    async def follow(self) -> None:
        while True:
            try:
                await self.take(_WAIT)
            except BrokerUnavailable as error:
                log.warning("global table %s waits: %s", self._node.table, error)
                self._env.metrics.trouble(f"global table {self._node.table}: {error}")
                await asyncio.sleep(_RETRY)

    async def take(self, timeout: float) -> None:
        # 3
        if self._reader is None:
            await self._restore()
        assert self._reader is not None
        try:
            fetched = await self._reader.fetch(_FETCH, timeout)
        except OffsetOutOfRange as error:
            log.warning("global table %s is read anew: %s", self._node.table, error)
            return await self._restore()
        if fetched:
            await self._write(fetched)
        return None

    async def _write(self, fetched: Iterable[Records]) -> None:
        copy = self._copy
        puts: dict[str, dict[bytes, bytes | None]] = {}
        positions: dict[str, int] = {}
        for records in fetched:
            part = copy.parts[records.tp.partition]
            puts.setdefault(part, {}).update(zip(records.keys, records.values, strict=True))  # type: ignore[arg-type]
            positions[part] = records.next_offset
        await to_the_end(
            asyncio.ensure_future(asyncio.to_thread(copy.store.write, StoreWrite(puts=puts, positions=positions)))
        )
        for rows in puts.values():
            copy.forget(list(rows))
            if rows and self._env.hub.wanted(self._node.table):
                self._tell(rows)

    def _tell(self, rows: Mapping[bytes, bytes | None]) -> None:
        decoder = self._env.decoders[self._node.table]
        there = [(key, value) for key, value in rows.items() if value is not None]
        found = dict(zip((key for key, _ in there), decoder.rows(there), strict=True))
        changes = [Change(key=decoder.key(key), row=found.get(key)) for key in rows]
        self._env.hub.publish(self._node.table, changes)

    async def close(self) -> None:
        await self._end_reading()
        copy = self._env.copies.pop(self._node.table, None)
        if copy is not None:
            await to_the_end(asyncio.ensure_future(asyncio.to_thread(copy.store.close)))

    async def _end_reading(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()

    @property
    def _copy(self) -> GlobalCopy:
        return self._env.copies[self._node.table]


class _Refused:
    """What of a global table's topic is no row: counted and logged in each worker.

    No dead letter is written, since every worker reads every record, and again after a restart: there would be many.
    The record is in the topic still.
    """

    def __init__(self, env: Environment, store: str) -> None:
        self._count = env.metrics.task(store).count_refused

    def refuse(self, step: str, records: Records, row: int, reason: str, *, on_error: str = "dead-letter") -> None:
        where = f"{records.tp}/{records.offsets[row]}"
        if on_error == "stop":
            raise FlowsError(f"{step}: record {where} refused: {reason}", fix="mend the producer, or on_error='skip'")
        self._count(step, "skip")
        log.warning("%s: record %s is no row of a global table: %s", step, where, reason[:300])
