"""A compiled task: the sources, steps, agents and tables of one sub-topology, in one partition."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np

from dsl.plan.nodes import TimerNode
from flows.brokers.base import Outgoing, TopicPartition
from flows.compile.branch import Branch, Removed
from flows.compile.feeds import AnswerFeed, ClockFeed, Derived, JoinFeed
from flows.compile.work import Work, due_within, dues_of, one_by_one, side_by_side
from flows.emit.outbox import Outbox
from flows.metrics import TaskMetrics
from flows.operate.agent import AgentRunner
from flows.operate.agent_input import Event
from flows.operate.base import Batch
from flows.operate.changes import TableChanges
from flows.operate.dict_table import DictTableState
from flows.operate.expiring import Expiries
from flows.operate.key_timers import KeyTimers, next_of
from flows.operate.processing_time import TaskClock
from flows.operate.schedule import Schedule
from flows.operate.tables import Round
from flows.source.rounds import InputRound

Changes = dict[str, list[Round]]
"""The changed rows of a commit by table, in rounds: a key that changes twice (closed, then expired) is in two."""


class TimerRun(msgspec.Struct, kw_only=True):
    """A timer in a task: it runs as an agent whose records are the ticks."""

    node: TimerNode
    runner: AgentRunner
    schedule: Schedule


class Pipeline:
    """Run batches through a task's steps and gather what its next commit must hold."""

    def __init__(self, metrics: TaskMetrics, outbox: Outbox, clock: TaskClock) -> None:
        self.metrics, self.outbox, self.clock = metrics, outbox, clock
        self.clocked: list[ClockFeed] = []
        self.branches: dict[TopicPartition, Branch] = {}
        self.derived: dict[str, Derived] = {}
        """By step; each stands behind those that it reads."""
        self.dict_tables: dict[str, DictTableState] = {}
        self.runners: list[AgentRunner] = []
        self.timers: list[TimerRun] = []
        self.closers: list[AgentRunner] = []
        self.expiries = Expiries()
        self.clock_timers: list[KeyTimers] = []
        self.lockstep = self.by_runs = False
        self.work: list[Work] = []
        self.changes: Changes = {}
        self.written: Changes = {}
        self.gone: Changes = {}
        self.joins: list[JoinFeed | AnswerFeed] = []
        self.limited: list[TableChanges] = []
        self.watched: set[str] = set()
        self.change_sinks: dict[str, list[Callable[[list[bytes], list[bytes | None]], None]]] = {}

    def add_timers(self, time: str, timers: KeyTimers) -> None:
        """Add the timers of keys of one declaration, of event or processing time."""
        (self.expiries.timers if time == "event" else self.clock_timers).append(timers)

    async def fire_by_the_clock(self) -> bool:
        """Let the timers of keys go off that are due by the wall clock; tell whether any did."""
        fired = False
        while (timers := next_of(self.clock_timers)) is not None and timers.next_time <= self.clock.read():
            await self.rest()
            await timers.fire()
            await self.rest()
            fired = True
        return fired

    def timers_left(self) -> list[float]:
        """Return the seconds until timers are due."""
        left = [timer.schedule.left() for timer in self.timers]
        waiting = next_of(self.clock_timers)
        if waiting is not None and not self.busy:
            left.append((waiting.next_time - self.clock.read()) / 1_000_000)
        return left

    async def start(self) -> None:
        """Start the agents."""
        for runner in self._all():
            await runner.start()

    async def stop(self) -> None:
        """End the agents where they stand."""
        await asyncio.gather(*(r.stop() for r in self._all()))

    def begin(self) -> None:
        """Go on from the stream times that the sources have."""
        for derived in self.derived.values():
            derived.step.begin()
            derived.set_floors()
        marks = {tp: branch.source.watermark for tp, branch in self.branches.items()}
        self.clock.time = marks[min(marks)].clock
        for feed in (*self._feeds(), *self.joins):
            feed.resume(feed.time)
        self.expiries.begin({tp: m.time for tp, m in marks.items()}, {tp: m.advanced for tp, m in marks.items()})

    async def process(self, taken: InputRound) -> None:
        """Take a round through all steps; returns when every agent has asked for its next record."""
        for part in self._parts(taken):
            await self._process(part)

    def _parts(self, taken: InputRound) -> Iterator[InputRound]:
        """Yield a round in the parts in which it can be processed: all at once, where nothing needs it cut."""
        if not self.by_runs:
            yield taken
            return
        for run in taken.runs():
            step = 1 if self.branches[run.parts[0].records.tp].one_by_one else len(run)
            rest: InputRound | None = run
            while rest is not None:
                part, rest = rest.split(step)
                yield part

    async def _process(self, taken: InputRound) -> None:
        metrics, turns = self.metrics, len(taken)
        metrics.begin()
        for table in (table for branch in self.branches.values() for table in branch.kept):
            table.begin(turns)
        opened: list[tuple[Branch, list[Batch]]] = []
        for part in taken.parts:
            branch = self.branches[part.records.tp]
            opened.append((branch, list(_kept(branch, branch.open(part, turns)))))
            metrics.took(part.records.tp.topic, part.records.timestamps)
        metrics.lap("decode")
        for branch, batches in opened:
            for batch in batches:
                self._pass_on(branch, batch)
        for derived in self.derived.values():
            derived.step.run(derived.then, turns)
        for derived in self.derived.values():
            derived.step.time.keep()
        metrics.lap("route" if any(branch.writers for branch, _ in opened) else "aggregate")
        times = [branch.times(np.arange(turns)) for branch, _ in opened] if self.expiries.is_used else []
        for branch, _ in opened:
            branch.close()
        work, self.work = self.work, []
        if times:
            dues = dues_of(work)
            async for segment in self.expiries.segments(np.maximum.reduce(times)):
                await self._work(due_within(work, dues, segment))
        else:
            await self._work(work)
        await self.expiries.close(max(branch.time for branch, _ in opened))
        if work or times:
            metrics.lap("agent")

    def _pass_on(self, branch: Branch, batch: Batch) -> None:
        if batch.frame is not None:
            for step in branch.steps:
                step(batch.frame, batch)
        if batch.objects is not None and branch.agents:
            rows = range(len(batch))
            self.work.extend((runner, batch.objects, rows, batch) for runner in branch.agents)

    async def settle(self) -> bool:
        """Learn of silence; tell whether there is something to commit."""
        moved = False
        for derived in self.derived.values():
            derived.step.run(derived.then, 1)  # what the joins before it have just made
            if derived.step.settle(derived):
                derived.step.run(derived.then, 1)
                moved = True
        work, self.work = self.work, []
        await self._work(work)
        return moved

    async def _work(self, work: list[Work]) -> None:
        if work:
            await (one_by_one(work) if self.lockstep and len(work) > 1 else side_by_side(work))

    @property
    def clock_is_due(self) -> bool:
        """Whether a window of processing time has ended by now."""
        return any(feed.would_close(self.clock.read()) for feed in self.clocked)

    @property
    def is_holding(self) -> bool:
        """Whether changes wait for a time that does not come, since all inputs are silent."""
        return self._is_silent and any(changes.is_holding for changes in self.limited)

    @property
    def _is_silent(self) -> bool:
        return all(branch.is_idle for branch in self.branches.values())

    async def close_windows(self) -> None:
        """End the windows of dictionary tables that silence has brought to their end."""
        if self.expiries.is_used:
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
        tables = sum(feed.waiting for feed in (*self._feeds(), *self.joins))
        return tables + sum(len(t.dirty) for t in self.dict_tables.values()) + len(self.outbox)

    def changed(self, table: str, keys: list[bytes], states: Sequence[bytes | None]) -> None:
        """Learn of the rows that a commit changes, in order."""
        self.metrics.changed[table] += len(keys)
        _add(self.changes, table, keys, states)
        if table in self.watched:
            _add(self.written, table, keys, states)

    def forgotten(self, table: str, keys: list[bytes], states: Sequence[bytes | None]) -> None:
        """Learn of the rows that a commit removes because they are kept no longer: no topic is told of them."""
        _add(self.changes, table, keys, states)
        if table in self.watched:
            _add(self.gone, table, keys, states)

    async def flush(self) -> None:
        """Bring all memtables into the state's staged rows, and their outputs into the outbox (step 2).

        Tables come before what their changes feed; agents among that finish what they are given before it returns.
        """
        for changes in self.limited:
            changes.release = self._is_silent
        for derived in self.derived.values():
            derived.step.flush()
            derived.set_floors()
        for feed in self._feeds():
            feed.flush(feed.time, feed.tells_idle, self.written)
        for join in self.joins:
            join.take(self.written, self.gone)
        self.gone = {}
        if self.work:
            work, self.work = self.work, []
            await self._work(work)
            await self.rest()
            self.metrics.lap("agent")
        for dict_table in self.dict_tables.values():
            dict_table.flush()
        written, self.written = self.written, {}
        for name, sinks in self.change_sinks.items():
            for rows in written.get(name, ()):
                for sink in sinks:
                    sink(list(rows), list(rows.values()))
        if self.clocked:
            self.branches[min(self.branches)].source.watermark.clock = self.clock.time

    def _feeds(self) -> Iterator[Branch | Derived]:
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


def _kept(branch: Branch, found: list[Batch | Removed]) -> Iterator[Batch]:
    """Yield what an input has, once its tables have taken it."""
    for one in found:
        if isinstance(one, Removed):
            for table in branch.kept:
                table.remove(*one)
        elif len(one):
            for table in branch.kept:
                assert one.frame is not None
                table.process(one.frame, one)
            yield one


def _add(changes: Changes, table: str, keys: list[bytes], states: Sequence[bytes | None]) -> None:
    rounds = changes.setdefault(table, [])
    rows = dict(zip(keys, states, strict=True))
    if rounds and rounds[-1].keys().isdisjoint(rows):
        rounds[-1].update(rows)
    else:
        rounds.append(rows)
