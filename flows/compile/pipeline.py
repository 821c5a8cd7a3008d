"""A compiled task: the sources, steps, agents and tables of one sub-topology, in one partition."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
import polars as pl

from dsl.plan.nodes import TimerNode
from flows.brokers.base import Outgoing, Records, TopicPartition
from flows.emit.outbox import Outbox
from flows.metrics import TaskMetrics
from flows.operate.agent import AgentRunner
from flows.operate.agent_input import Event
from flows.operate.base import NO_TIME, Batch, FrameStep, Times
from flows.operate.dict_table import DictTableState
from flows.operate.expiring import Expiries
from flows.operate.joins.origins import JoinedTime, Origin, held_back
from flows.operate.tables import TableStep
from flows.route.repartition import RepartitionWriter
from flows.source.base import Source


class Joining(Protocol):
    """A step with several inputs: what comes is queued, and looked at once the whole input batch is there."""

    time: JoinedTime

    def take(self, side: int, frame: pl.DataFrame, batch: Batch) -> None: ...

    def run(self, then: FrameStep) -> None: ...

    def settle(self, tables: Sequence[TableStep]) -> bool: ...

    def flush(self) -> None: ...


Work = tuple[AgentRunner, Sequence[Any], Sequence[int], Batch]
Changes = dict[str, list[dict[bytes, bytes | None]]]
"""The changed rows of a commit by table, in rounds: a key that changes twice (closed, then expired) is in two."""


class Derived(msgspec.Struct, kw_only=True):
    """What a step with several inputs feeds: its rows have a stream time of their own."""

    step: Joining
    then: FrameStep
    tables: list[TableStep] = []
    writers: list[RepartitionWriter] = []
    marked: tuple[int, bool] | None = (NO_TIME, False)

    @property
    def origin(self) -> JoinedTime:
        return self.step.time

    @property
    def time(self) -> int:
        """The stream time of the rows, without what silence added."""
        return held_back(self.origin.now, self.origin.hold)

    @property
    def is_idle(self) -> bool:
        return self.origin.is_idle

    def set_floors(self) -> None:
        """Tell the tables how far silence has moved time."""
        for table in self.tables:
            table.floor = held_back(self.origin.silence, self.origin.hold)


class Branch(msgspec.Struct, kw_only=True):
    """What one input partition feeds. `quiet` is for how many microseconds it is silent, where it is idle."""

    source: Source
    expiries: Expiries
    steps: list[FrameStep] = []
    agents: list[AgentRunner] = []
    tables: list[TableStep] = []
    writers: list[RepartitionWriter] = []
    marked: tuple[int, bool] | None = (NO_TIME, False)
    quiet: int = 0
    running: Times | None = None
    feeds: list[Derived] = []

    @property
    def wants_frame(self) -> bool:
        return bool(self.steps)

    @property
    def has_writers(self) -> bool:
        """Whether other tasks wait for this input's time."""
        return bool(self.writers) or any(derived.writers for derived in self.feeds)

    def mark_again(self) -> None:
        """Have the next commit tell the stream time to those who wait for it."""
        self.marked = None
        for derived in self.feeds:
            derived.marked = None

    @property
    def origin(self) -> Origin:
        return self

    @property
    def time(self) -> int:
        """The stream time after all that was processed."""
        return self.source.watermark.time

    @property
    def is_idle(self) -> bool:
        return self.source.watermark.idle

    def times(self, rows: Times) -> Times:
        """Return the stream time as of rows of the batch in hand."""
        return np.full(len(rows), self.time) if self.running is None else self.running[rows]


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
        self.derived: dict[str, Derived] = {}
        """By step; each stands behind those that it reads."""
        self.dict_tables: dict[str, DictTableState] = {}
        self.runners: list[AgentRunner] = []
        self.timers: list[TimerRun] = []
        self.closers: list[AgentRunner] = []
        self.expiries = Expiries()
        self.lockstep = False
        self.work: list[Work] = []
        self.changes: Changes = {}
        self.written: Changes = {}
        self.change_sinks: dict[str, list[Callable[[list[bytes], list[bytes | None]], None]]] = {}

    async def start(self) -> None:
        """Start the agents."""
        for runner in self._all():
            await runner.start()

    async def stop(self) -> None:
        """End the agents where they stand."""
        await asyncio.gather(*(r.stop() for r in self._all()))

    def begin(self) -> None:
        """Go on from the stream times that the sources have."""
        marks = {tp: branch.source.watermark for tp, branch in self.branches.items()}
        self.expiries.begin({tp: m.time for tp, m in marks.items()}, {tp: m.advanced for tp, m in marks.items()})

    async def process(self, records: Records) -> None:
        """Take records through all steps; returns when every agent has asked for its next record."""
        metrics = self.metrics
        branch = self.branches[records.tp]
        metrics.begin()
        batch = branch.source.read(records, branch.wants_frame)
        metrics.lap("decode")
        metrics.took(records.tp.topic, records.timestamps)
        if len(batch):
            if batch.frame is not None:
                branch.running = batch.watermarks
                for step in branch.steps:
                    step(batch.frame, batch)
            if batch.objects is not None and branch.agents:
                rows = range(len(batch))
                self.work.extend((runner, batch.objects, rows, batch) for runner in branch.agents)
        for derived in self.derived.values():
            derived.step.run(derived.then)
        branch.running = None
        if batch.frame is not None and len(batch):
            metrics.lap("route" if branch.writers else "aggregate")
        work, self.work = self.work, []
        if self.expiries.tables and len(batch):
            async for part in self.expiries.segments(batch.watermarks):
                await self._work(_rows_of(work, part))
        else:
            await self._work(work)
        await self.expiries.close(branch.source.watermark.time)
        if work or self.expiries.tables:
            metrics.lap("agent")

    async def settle(self) -> bool:
        """Learn of silence; tell whether there is something to commit."""
        moved = False
        for derived in self.derived.values():
            derived.step.run(derived.then)  # what the joins before it have just made
            if derived.step.settle(derived.tables):
                derived.step.run(derived.then)
                moved = True
        work, self.work = self.work, []
        await self._work(work)
        return moved

    async def _work(self, work: list[Work]) -> None:
        if work:
            await (self._one_by_one(work) if self.lockstep and len(work) > 1 else self._side_by_side(work))

    async def _side_by_side(self, work: list[Work]) -> None:
        if len(work) == 1:
            runner, values, rows, batch = work[0]
            await runner.run(values, rows, batch)
        else:
            await asyncio.gather(*(runner.run(values, rows, batch) for runner, values, rows, batch in work))

    async def _one_by_one(self, work: list[Work]) -> None:
        """Take record after record through agents that share tables, so that no cut shows in what they see."""
        queue = [
            (due, order, row, runner, value, batch)
            for order, (runner, values, rows, batch) in enumerate(work)
            for value, row, due in zip(values, rows, _due(rows, batch), strict=True)
        ]
        queue.sort(key=lambda item: item[:3])
        for _, _, row, runner, value, batch in queue:
            await runner.run([value], [row], batch)

    async def close_windows(self) -> None:
        """End the windows of dictionary tables that silence has brought to their end."""
        if self.expiries.tables:
            await self.rest()
            await self.expiries.close()

    async def rest(self) -> None:
        """Wait until no agent has a record in hand."""
        while busy := [r for r in self._all() if r.busy]:
            for runner in busy:
                await runner.rest()

    @property
    def busy(self) -> bool:
        return any(r.busy for r in self._all())

    def _all(self) -> list[AgentRunner]:
        return [*self.runners, *(t.runner for t in self.timers), *self.closers]

    @property
    def waiting(self) -> int:
        """Rows that wait for the next commit."""
        tables = sum(t.waiting for b in self._origins() for t in b.tables)
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
        for derived in self.derived.values():
            derived.step.flush()
            derived.set_floors()
        for origin in self._origins():
            mark = origin.time, origin.is_idle
            for table in origin.tables:
                table.flush(mark[0])
            if origin.writers and origin.marked != mark:
                origin.marked = mark
                for writer in origin.writers:
                    writer.mark(*mark)
        for dict_table in self.dict_tables.values():
            dict_table.flush()
        for name, sinks in self.change_sinks.items():
            for rows in self.written.pop(name, ()):
                for sink in sinks:
                    sink(list(rows), list(rows.values()))

    def _origins(self) -> Iterator[Branch | Derived]:
        yield from self.branches.values()
        yield from self.derived.values()

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


def _due(rows: Sequence[int], batch: Batch) -> Sequence[int]:
    """Return which rows of the input batch some rows are due to."""
    if batch.triggers is None:
        return rows
    found: list[int] = batch.triggers[list(rows)].tolist()
    return found


def _rows_of(work: list[Work], part: slice) -> list[Work]:
    """Return what of some work is on a part of the batch's rows."""
    found = []
    for runner, values, rows, batch in work:
        due = _due(rows, batch)
        begin, end = bisect_left(due, part.start), bisect_left(due, part.stop)
        if begin < end:
            found.append((runner, values[begin:end], rows[begin:end], batch))
    return found


def _add(changes: Changes, table: str, keys: list[bytes], states: Sequence[bytes | None]) -> None:
    rounds = changes.setdefault(table, [])
    rows = dict(zip(keys, states, strict=True))
    if rounds and rounds[-1].keys().isdisjoint(rows):
        rounds[-1].update(rows)
    else:
        rounds.append(rows)
