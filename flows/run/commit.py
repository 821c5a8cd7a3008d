"""The commit of a task: outputs, changelog and positions in one broker transaction, then the state."""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter
from typing import Any

import msgspec

from flows.brokers.base import Committed, Outgoing, Producer, TopicPartition, Transaction
from flows.compile.names import TAKEN, changelog
from flows.compile.pipeline import Changes, Pipeline
from flows.errors import BrokerUnavailable, OutcomeUnknown, RecordTooLarge
from flows.operate.base import NO_TIME
from flows.query.base import Change
from flows.run.environment import Environment
from flows.run.sending import Sender
from flows.run.taken import TakenRows
from flows.run.traces import TaskTraces
from flows.state.keys import RESERVED_PREFIX
from flows.state.task_state import TaskState

log = logging.getLogger("flows.commit")

FINGERPRINT = RESERVED_PREFIX + b"fingerprint"
_RETRY = (0.05, 2.0)
_array = msgspec.msgpack.Decoder(list[Any]).decode


class Committer:
    """Carry out the commits of one task."""

    def __init__(
        self,
        env: Environment,
        task_id: str,
        partition: int,
        pipeline: Pipeline,
        state: TaskState,
        producer: Producer,
        tables: dict[str, str],
        taken: TakenRows,
        sender: Sender | None = None,
        traces: TaskTraces | None = None,
    ) -> None:
        self._traces = traces
        self._env, self._task_id, self._partition = env, task_id, partition
        self._pipeline, self._state, self._producer = pipeline, state, producer
        self._tables, self._taken, self._sender = tables, taken, sender
        self._fingerprints: dict[str, bytes] = {}
        self._committed: dict[TopicPartition, Committed] = {}
        self._metrics = pipeline.metrics

    def begin(self, committed: dict[TopicPartition, Committed], fingerprints: dict[str, bytes]) -> None:
        """Learn what was committed before, and which fingerprints the first commit is to write, by table."""
        self._committed, self._fingerprints = dict(committed), dict(fingerprints)

    async def commit(self, positions: dict[TopicPartition, int]) -> None:
        """Commit what was processed up to `positions`.

        1. Every operator has finished the batch: each agent has asked for its next record.
        2. Memtables merge into the task's uncommitted write cache.
        3. One broker transaction takes outputs, changelog records and input offsets.
        4. The transaction commits.
        5. The committed write cache takes the rows with the changelog positions; RocksDB follows in one write batch.
        6. The live view and the metrics learn of the changed rows.

        At least once (`sender`), 3 and 4 are: the outputs, most of them sent already, are all durable; then the
        changelog records; then the input offsets. What has no offset yet comes again, as does a commit whose outcome
        is unknown.

        Raises `Fenced` and, exactly once, `OutcomeUnknown`: the task must then be given up or recovered from the
        broker's state. While the broker is unavailable nothing was applied, and the same transaction is tried again.
        """
        env, metrics, begun = self._env, self._metrics, perf_counter()
        # 1
        await self._pipeline.rest()
        env.probe("commit 1")
        # 2: when it returns no agent has anything in hand, and until the transaction nothing else runs
        metrics.begin()
        await self._pipeline.flush()
        self._taken.stage()
        metrics.lap("state")
        env.probe("commit 2")
        # 3
        transaction, changelogs = self._transaction(positions)
        changes = self._pipeline.take_changes()
        metrics.lap("changelog")
        env.probe("commit 3")
        # 4
        if self._sender is not None:
            await self._sender.drain()
            env.probe("commit 3")
        if transaction.outputs or transaction.offsets:
            ends = await self._apply(transaction)
            metrics.begin()
            env.probe("commit 4")
            # 5
            if self._fingerprints:
                self._state.store.set_metadata(self._fingerprints.items())
            self._state.promote({table: ends[tp] for table, tp in changelogs.items()})
            self._committed.update(transaction.offsets)
            self._fingerprints.clear()
            env.probe("commit 5")
            # 6
            metrics.committed(env.clock.now(), perf_counter() - begun)
            metrics.lap("commit")
            if self._traces is not None:
                self._traces.committed(positions)
            self._publish(changes)
            metrics.lap("live")
            env.probe("commit 6")

    def _transaction(self, positions: dict[TopicPartition, int]) -> tuple[Transaction, dict[str, TopicPartition]]:
        env, now = self._env, int(self._env.clock.now() * 1000)
        outputs = self._pipeline.outputs() if self._sender is None else {}
        changelogs: dict[str, TopicPartition] = {}
        for table in self._state.staged_tables():
            rows = self._state.staged(table)
            if rows:
                tp = changelogs[table] = TopicPartition(changelog(env.plan.app, table), self._partition)
                outputs[tp] = Outgoing(list(rows), list(rows.values()), [now] * len(rows))
        for table, fingerprint in self._fingerprints.items():
            tp = changelogs.setdefault(table, TopicPartition(changelog(env.plan.app, table), self._partition))
            outputs.setdefault(tp, Outgoing()).append(FINGERPRINT, fingerprint, now)
        offsets = self._offsets(positions)
        new = {tp: now for tp, now in offsets.items() if self._committed.get(tp, Committed(0)) != now}
        # By the positions Kafka refuses who has lost the task: what moves none confirms them.
        return Transaction(group=env.group, outputs=outputs, offsets=new or (offsets if outputs else {})), changelogs

    def _offsets(self, positions: dict[TopicPartition, int]) -> dict[TopicPartition, Committed]:
        found = {}
        for tp, branch in self._pipeline.branches.items():
            mark = branch.source.watermark
            found[tp] = Committed(positions[tp], "" if mark.is_fresh else mark.encode())
        return found

    async def _apply(self, transaction: Transaction) -> dict[TopicPartition, int]:
        attempt = 0
        while True:
            try:
                return await self._producer.commit(transaction)
            except (BrokerUnavailable, OutcomeUnknown) as error:
                if isinstance(error, OutcomeUnknown) and self._sender is None:
                    raise
                attempt += 1
                if attempt == 1:
                    log.warning("task %s cannot commit, tries again: %s", self._task_id, error)
                self._env.metrics.trouble(f"task {self._task_id}: {error}")
                await asyncio.sleep(min(_RETRY[0] * 2**attempt, _RETRY[1]))
            except RecordTooLarge as error:
                raise self._overgrown() or error from error

    def _overgrown(self) -> RecordTooLarge | None:
        """Name the row that no record of its changelog can carry: of a table, or what an agent's `take` holds."""
        most = self._env.broker.max_record_bytes
        for table in self._state.staged_tables():
            for key, row in self._state.staged(table).items():
                if row is None or len(key) + len(row) <= most:
                    continue
                if table.endswith(TAKEN):
                    return RecordTooLarge(
                        f"agent {table.removesuffix(TAKEN)!r}: record {int.from_bytes(key, 'big')} that its take() "
                        f"holds needs {len(key) + len(row)} bytes, more than a record may have ({most})",
                        fix="filter such records out before the agent, or carry fewer columns in its stream",
                    )
                if table in self._env.decoders:
                    return RecordTooLarge(
                        f"table {table!r}: the row of {self._env.decoders[table].key(key)} has grown to "
                        f"{len(key) + len(row)} bytes, more than a record may have ({most})",
                        fix="keep less in a row: a larger error= of quantile, a smaller precision=, fewer aggregates",
                    )
        return None

    def _publish(self, changes: Changes) -> None:
        for table, rounds in changes.items():
            for rows in rounds if self._env.hub.wanted(table) else ():
                decoder = self._env.decoders[table]
                live = [(k, v) for k, v in rows.items() if v is not None]
                found = dict(zip((k for k, _ in live), decoder.rows(live), strict=True))
                timed = decoder.info.kind == "declared"
                told = [
                    Change(key=decoder.key(k), row=found.get(k), timestamp=_time(v) if timed else None)
                    for k, v in rows.items()
                ]
                self._env.hub.publish(table, told)


def _time(state: bytes | None) -> float | None:
    """Return the largest event time of an aggregate state, in seconds: the first element of its array, if any."""
    time = None if state is None else _array(state)[0]
    return None if time is None or time == NO_TIME else float(time) / 1_000_000
