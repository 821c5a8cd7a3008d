"""A task: one partition of one sub-topology, with its inputs, its state and its commit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from time import perf_counter, thread_time

from dsl.plan.graph import SubTopology
from dsl.plan.nodes import RepartitionNode
from flows.brokers.base import Appender, Producer, Reader, TopicPartition
from flows.compile.context import TaskContext
from flows.compile.names import changelog, store_tables
from flows.compile.pipeline import Pipeline
from flows.compile.task import compile_task
from flows.operate.base import NO_TIME
from flows.run.commit import Committer
from flows.run.environment import Environment
from flows.run.fingerprints import checked_fingerprints
from flows.run.flushing import Flusher
from flows.run.idle import IdleMarkers, Silence, wake
from flows.run.inputs import InputOrder
from flows.run.progress import RestoreProgress
from flows.run.sending import Sender
from flows.run.stores import open_tables
from flows.run.taken import TakenRows
from flows.run.ticks import run_due_timers
from flows.run.traces import TaskTraces
from flows.source.rounds import InputRound
from flows.source.watermarks import decode_watermark
from flows.state.restore import restore
from flows.state.task_state import TaskState
from flows.state.to_the_end import to_the_end

log = logging.getLogger("flows.task")

_HOLES_AFTER = 0.5
"""Seconds of silence after which a position that moved without a record is committed: the next commit may take it."""

_BUSY = 0.012
"""Seconds that a chunk of records may keep the event loop busy."""


class Task:
    """Read, process and commit; everything that belongs to the task and to nothing else.

    `position` per input is what was processed; `committed` follows with each commit.
    """

    def __init__(self, env: Environment, part: SubTopology, partition: int) -> None:
        self.env, self.part, self.partition = env, part, partition
        self.id = f"{part.name}/{partition}"
        self.metrics = env.metrics.task(self.id)
        self.metrics.forget()
        self.positions: dict[TopicPartition, int] = {}
        self.at_end = False
        self.fetched = 0
        self.ready = False
        self.progress = RestoreProgress(env.progress, self.id)
        self.state: TaskState | None = None
        self.pipeline: Pipeline | None = None
        self._producer: Producer | None = None
        self._sender: Sender | None = None
        self._reader: Reader | None = None
        self._silence: dict[TopicPartition, Silence] = {}
        self._markers: dict[TopicPartition, IdleMarkers] = {}
        self._uncommitted_since: float | None = None
        self._holes_since: float | None = None
        self._chunk = env.chunk
        self.hold_commits = False

    async def start(self) -> None:
        """Take the task over.

        1. A new producer; whoever held the task before is fenced, by the task's transactional id or by the group.
        2. Read the committed offsets.
        3. Open the store.
        4. Restore it from the changelogs until position ≥ end, and check the fingerprints.
        5. Build the pipeline with the stream times and pending elements that were committed.
        6. Seek the reader to the committed offsets and start the agents.
        """
        env = self.env
        inputs = [TopicPartition(topic, self.partition) for topic in self.part.inputs]
        # 1
        self._producer, appender = await self._take_over(inputs)
        env.probe("start 1")
        # 2
        committed = dict(await env.broker.committed(env.group, inputs))
        starts = await env.broker.start_offsets([tp for tp in inputs if tp not in committed])
        env.probe("start 2")
        # 3
        tables = store_tables(env.plan, self.part)
        self.state = state = await to_the_end(self._open_state(list(tables)))
        env.probe("start 3")
        # 4
        changelogs = {t: TopicPartition(changelog(env.plan.app, t), self.partition) for t in tables}
        found = await restore(state.store, env.broker, changelogs, self.progress, clock=env.clock, probe=env.probe)
        fingerprints = checked_fingerprints(env.plan, tables, found)
        env.probe("start 4")
        # 5
        self.pipeline = compile_task(self._context(state))
        for tp in inputs:
            branch = self.pipeline.branches[tp]
            branch.source.watermark = mark = decode_watermark(committed[tp].metadata if tp in committed else "")
            # Counted as awake, and its time told anew: a repartition may have been added since it was last told.
            branch.asleep, mark.idle = mark.idle, False
            branch.let_pass(mark.advanced)
            self._silence[tp] = Silence(branch, env.idle_after)
            self._markers[tp] = IdleMarkers(branch, env.broker, tp, self.part.partitions, env.idle_after)
        self.pipeline.begin()
        taken = self._taken = TakenRows(self.pipeline, state)
        await taken.restore(env.codecs.learn)
        if appender is not None:
            self._sender = Sender(env, self.id, appender, self.pipeline.outbox)
        traces = None if env.tracer is None else TaskTraces(env.tracer, self.id, env.group)
        self._committer = Committer(
            env, self.id, self.partition, self.pipeline, state, self._producer, tables, taken, self._sender, traces
        )
        self._committer.begin(committed, fingerprints)
        env.probe("start 5")
        # 6
        self.positions = {tp: committed[tp].offset if tp in committed else starts[tp] for tp in inputs}
        self._reader = env.broker.reader(self.positions)
        self._order = InputOrder(self._reader, env.broker, self.pipeline, inputs, env.codecs.learn, traces)
        await self.pipeline.start()
        self.ready = True
        for table in tables:
            env.hub.miss(table)
        env.probe("start 6")

    async def _take_over(self, inputs: list[TopicPartition]) -> tuple[Producer, Appender | None]:
        name, group = f"{self.env.plan.app}.{self.id}", self.env.group
        if self.env.guarantee == "exactly_once":
            return await self.env.broker.producer(name, group=group, inputs=inputs), None
        appender = await self.env.broker.appender(name, group=group)
        return appender, appender

    async def _open_state(self, tables: list[str]) -> TaskState:
        # Noted here, since a start that is cancelled meanwhile must find what to close.
        self.state = TaskState(await asyncio.to_thread(open_tables, self.env.open_store, self.id, tables))
        self._flusher = Flusher(self.id, self.state, self.env.metrics)
        return self.state

    def _context(self, state: TaskState) -> TaskContext:
        env = self.env
        return TaskContext(
            plan=env.plan,
            part=self.part,
            partition=self.partition,
            state=state,
            codecs=env.codecs,
            clock=env.clock,
            metrics=self.metrics,
            max_ahead=env.max_ahead,
            max_record_bytes=env.broker.max_record_bytes,
            backoff=env.backoff,
            ask=env.asking.ask,
            copies=env.copies,
        )

    async def step(self, timeout: float) -> bool:
        """Fetch for up to `timeout` seconds and process what came, committing when due; tell whether anything came."""
        assert self._reader is not None
        pipeline = self.pipeline
        assert pipeline is not None
        begun = perf_counter()
        if self._uncommitted_since is not None:
            timeout = min(timeout, self._until_commit()) if self._sender is not None else 0.0
        rest = await self._order.fetch(self.env.fetch_records, timeout)
        self.fetched = 0 if rest is None else len(rest)
        if self.fetched:
            self.metrics.seconds["fetch"] += perf_counter() - begun
        self.at_end = not self.fetched and not self._order.blocked
        while rest is not None:
            taken, rest = rest.split(wake(self._silence, rest, self._chunk))
            await self.env.turns.take()
            await self._process(pipeline, taken)
            if self._commit_is_due():
                await self.commit()
        if self.at_end and self._uncommitted_since is not None and not self.hold_commits and not self._may_wait():
            self._pass_holes()
            await self.commit()
        return bool(self.fetched)

    def _may_wait(self) -> bool:
        """Tell whether the next commit can wait for its time: at least once nobody waits for it, outputs have gone."""
        return self._sender is not None and self._uncommitted_since is not None and not self._commit_is_due()

    def _pass_holes(self) -> bool:
        """Move the positions across what the reader passed without a record: markers of transactions, compacted rows.

        Otherwise an input could be read to its end and its committed position never be there.
        """
        assert self._reader is not None
        moved = {tp: at for tp, done in self.positions.items() if (at := self._reader.position(tp)) > done}
        self.positions.update(moved)
        return bool(moved)

    async def _process(self, pipeline: Pipeline, taken: InputRound) -> None:
        begun, worked, before = perf_counter(), thread_time(), self.env.metrics.records
        if self._uncommitted_since is None:
            self._uncommitted_since = self.env.clock.monotonic()
        await pipeline.process(taken)
        self.positions.update((records.tp, records.next_offset) for records, _ in taken.parts)
        if pipeline.runners:
            worked = thread_time() - worked
            waited = perf_counter() - begun - worked
            # Other tasks have worked meanwhile too, on records of theirs.
            done = max(1, len(taken), self.env.metrics.records - before)
            self._fit_chunk(waited / max(1, len(taken)), worked / done)

    def _fit_chunk(self, waited: float, worked: float) -> None:
        """Give agents as many records at a time as keep the event loop answering and the commits coming.

        `waited` is the seconds a record waited without any work going on in the event loop (for a service, say):
        what is done is to be committed soon. `worked` is the seconds it kept the loop busy.
        """
        fitting = int(min(2 * self.env.commit_interval / max(waited, 1e-9), _BUSY / max(worked, 1e-9)))
        self._chunk = max(1, min(self.env.chunk, fitting, self._chunk * 2))

    def _commit_is_due(self) -> bool:
        if self._uncommitted_since is None or self.pipeline is None or self.hold_commits:
            return False
        return self._until_commit() <= 0.0 or self.pipeline.waiting >= self.env.commit_rows

    def _until_commit(self) -> float:
        assert self._uncommitted_since is not None
        return max(0.0, self._uncommitted_since + self.env.commit_interval - self.env.clock.monotonic())

    async def tick(self) -> bool:
        """Do what time asks for: timers, silence, `take`s that ran out of patience; tell whether it was committed."""
        pipeline, reader = self.pipeline, self._reader
        assert pipeline is not None
        assert reader is not None
        now = self.env.clock.monotonic()
        changed = await run_due_timers(pipeline)
        if self.at_end:
            for silence in self._silence.values():
                changed = silence.observe(now) or changed
            changed = await pipeline.settle() or pipeline.is_holding or changed
            for tp, markers in self._markers.items():
                changed = await markers.observe(now, reader.position(tp)) or changed
            if changed:
                await pipeline.close_windows()
            changed = self._holes_are_due(now) or changed
        due = bool(changed or len(pipeline.outbox) or pipeline.waiting or self._taken.stale) and not self._may_wait()
        if due:
            await self.commit()
        self._flusher.check(now)
        return due

    def _holes_are_due(self, now: float) -> bool:
        if self._pass_holes() and self._holes_since is None:
            self._holes_since = now
        return self._holes_since is not None and now - self._holes_since >= _HOLES_AFTER

    async def commit(self) -> None:
        """Commit all that is processed, then bring the state's cache to the store when that is due."""
        assert self.state is not None
        await self.env.turns.take()
        await self._committer.commit(self.positions)
        self._uncommitted_since = self._holes_since = None
        now = self.env.clock.monotonic()
        self._flusher.check(now)
        await self._flusher.hold_back(now)

    def next_due(self, at_most: float = 0.5) -> float:
        """Return the seconds until `tick` has something to do."""
        now = self.env.clock.monotonic()
        dues = [s.due() for s in self._silence.values()]
        dues += [m.due() for m in self._markers.values()]
        if self._holes_since is not None:
            dues.append(self._holes_since + _HOLES_AFTER)
        if self.pipeline is not None:
            dues += [now + left for left in self.pipeline.timers_left()]
        return min([at_most, *(max(0.0, due - now) for due in dues if due is not None and due > now)])

    async def finish(self) -> None:
        """Commit what is in hand."""
        if self.ready and self._uncommitted_since is not None:
            await self.commit()

    async def abandon(self) -> None:
        """Let go of the task as a crash would: nothing more is committed or written."""
        self.ready = False
        if self.pipeline is not None:
            await self.pipeline.stop()
        if self._sender is not None:
            await self._sender.stop()
        if self._producer is not None:
            await self._producer.close()
        if self.state is not None:
            await self._flusher.end()
            state, self.state = self.state, None
            await state.close(flush=False)
        if self._reader is not None:
            await self._reader.close()

    async def close(self) -> None:
        """Let go of the task; what was committed is in its store."""
        self.ready = False
        if self.pipeline is not None:
            await self.pipeline.stop()
        if self._sender is not None:
            await self._sender.stop()
        if self._reader is not None:
            await self._reader.close()
        if self._producer is not None:
            await self._producer.close()
        if self.state is not None:
            await self._flusher.end()
            state, self.state = self.state, None
            await state.close()

    def holds(self, table: str) -> bool:
        """Tell whether the task keeps a part of a table."""
        return table in store_tables(self.env.plan, self.part)

    def lag_of(self, ends: Mapping[TopicPartition, int]) -> int:
        """Return the offsets between what was processed and the ends."""
        return sum(max(0, ends.get(tp, 0) - position) for tp, position in self.positions.items())

    def repartition_inputs(self) -> list[TopicPartition]:
        """Return the internal inputs, whose processed records may be purged."""
        return [tp for tp in self.positions if tp.topic in {n.topic for n in self.env.plan.of_type(RepartitionNode)}]

    @property
    def watermark(self) -> int | None:
        """The stream time of the slowest input in microseconds; None before it began."""
        if self.pipeline is None:
            return None
        times = [b.source.watermark.time for b in self.pipeline.branches.values()]
        return min(times) if times and min(times) != NO_TIME else None
