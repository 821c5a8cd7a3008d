"""A compiled task: the sources, steps, agents and tables of one sub-topology, in one partition."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from dsl.plan.nodes import TimerNode
from flows.brokers.base import Outgoing, Records, TopicPartition
from flows.emit.outbox import Outbox
from flows.metrics import TaskMetrics
from flows.operate.agent import AgentRunner
from flows.operate.agent_input import Event
from flows.operate.base import NO_TIME, Batch, FrameStep
from flows.operate.dict_table import DictTableState
from flows.operate.tables import TableStep
from flows.route.repartition import RepartitionWriter
from flows.source.base import Source

Work = tuple[AgentRunner, Sequence[Any], Sequence[int], Batch]
Changes = dict[str, list[dict[bytes, bytes | None]]]
"""The changed rows of a commit by table, in rounds: a key that changes twice (closed, then expired) is in two."""


class Branch(msgspec.Struct, kw_only=True):
    """What one input partition feeds."""

    source: Source
    steps: list[FrameStep] = []
    agents: list[AgentRunner] = []
    tables: list[TableStep] = []
    writers: list[RepartitionWriter] = []
    marked: tuple[int, bool] | None = (NO_TIME, False)

    @property
    def wants_frame(self) -> bool:
        return bool(self.steps)


class TimerRun(msgspec.Struct, kw_only=True):
    """A timer in a task: it runs as an agent whose records are the ticks."""

    node: TimerNode
    runner: AgentRunner
    due: float


class Pipeline:
    """Run batches through a task's steps and gather what its next commit must hold."""

    def __init__(self, metrics: TaskMetrics, outbox: Outbox) -> None:
        self.metrics, self.outbox = metrics, outbox
        self.branches: dict[TopicPartition, Branch] = {}
        self.dict_tables: dict[str, DictTableState] = {}
        self.runners: list[AgentRunner] = []
        self.timers: list[TimerRun] = []
        self.lockstep = False
        self.work: list[Work] = []
        self.changes: Changes = {}
        self.written: Changes = {}
        self.change_sinks: dict[str, list[Callable[[list[bytes], list[bytes | None]], None]]] = {}

    async def start(self) -> None:
        """Start the agents."""
        for runner in (*self.runners, *(t.runner for t in self.timers)):
            await runner.start()

    async def stop(self) -> None:
        """End the agents where they stand."""
        await asyncio.gather(*(r.stop() for r in (*self.runners, *(t.runner for t in self.timers))))

    async def process(self, records: Records) -> None:
        """Take records through all steps; returns when every agent has asked for its next record."""
        metrics = self.metrics
        branch = self.branches[records.tp]
        metrics.begin()
        batch = branch.source.read(records, branch.wants_frame)
        metrics.lap("decode")
        metrics.took(records.tp.topic, records.timestamps)
        if not len(batch):
            return
        if batch.frame is not None:
            for step in branch.steps:
                step(batch.frame, batch)
            metrics.lap("route" if branch.writers else "aggregate")
        if batch.objects is not None and branch.agents:
            rows = range(len(batch))
            self.work.extend((runner, batch.objects, rows, batch) for runner in branch.agents)
        if self.work:
            work, self.work = self.work, []
            await (self._one_by_one(work) if self.lockstep and len(work) > 1 else self._side_by_side(work))
            metrics.lap("agent")

    async def _side_by_side(self, work: list[Work]) -> None:
        if len(work) == 1:
            runner, values, rows, batch = work[0]
            await runner.run(values, rows, batch)
        else:
            await asyncio.gather(*(runner.run(values, rows, batch) for runner, values, rows, batch in work))

    async def _one_by_one(self, work: list[Work]) -> None:
        """Take record after record through agents that share tables, so that no cut shows in what they see."""
        queue = [
            (row, order, runner, value, batch)
            for order, (runner, values, rows, batch) in enumerate(work)
            for value, row in zip(values, rows, strict=True)
        ]
        queue.sort(key=lambda item: item[:2])
        for row, _, runner, value, batch in queue:
            await runner.run([value], [row], batch)

    async def rest(self) -> None:
        """Wait until no agent has a record in hand."""
        while busy := [r for r in (*self.runners, *(t.runner for t in self.timers)) if r.busy]:
            for runner in busy:
                await runner.rest()

    @property
    def busy(self) -> bool:
        return any(r.busy for r in (*self.runners, *(t.runner for t in self.timers)))

    @property
    def waiting(self) -> int:
        """Rows that wait for the next commit."""
        tables = sum(t.waiting for b in self.branches.values() for t in b.tables)
        return tables + sum(len(t.dirty) for t in self.dict_tables.values()) + len(self.outbox)

    def changed(self, table: str, keys: list[bytes], states: Sequence[bytes | None]) -> None:
        """Learn of the rows that a commit changes, in order."""
        _add(self.changes, table, keys, states)
        if table in self.change_sinks:
            _add(self.written, table, keys, states)

    def forgotten(self, table: str, keys: list[bytes], states: Sequence[bytes | None]) -> None:
        """Learn of the rows that a commit removes because they are kept no longer: no topic is told of them."""
        _add(self.changes, table, keys, states)

    def flush(self) -> None:
        """Bring all memtables into the state's staged rows, and their outputs into the outbox (step 2)."""
        for branch in self.branches.values():
            mark = branch.source.watermark
            for table in branch.tables:
                table.flush(mark.time)
            if branch.writers and branch.marked != (mark.time, mark.idle):
                branch.marked = (mark.time, mark.idle)
                for writer in branch.writers:
                    writer.mark(mark.time, mark.idle)
        for dict_table in self.dict_tables.values():
            dict_table.flush()
        for name, sinks in self.change_sinks.items():
            for rows in self.written.pop(name, ()):
                for sink in sinks:
                    sink(list(rows), list(rows.values()))

    def take_changes(self) -> Changes:
        """Hand over the rows that the commit changes, for the live view."""
        changes, self.changes = self.changes, {}
        return changes

    def taken(self) -> dict[str, list[Event]]:
        """Return what unfinished `take`s hold, by agent."""
        return {r.spec.step: r.taken() for r in self.runners}

    def outputs(self) -> dict[TopicPartition, Outgoing]:
        """Hand over the records for topics."""
        return self.outbox.take()


def _add(changes: Changes, table: str, keys: list[bytes], states: Sequence[bytes | None]) -> None:
    rounds = changes.setdefault(table, [])
    rows = dict(zip(keys, states, strict=True))
    if rounds and rounds[-1].keys().isdisjoint(rows):
        rounds[-1].update(rows)
    else:
        rounds.append(rows)
