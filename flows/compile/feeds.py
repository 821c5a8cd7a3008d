"""What feeds the steps of a task: the records of an input, and what changes in a table while a commit is made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import msgspec
import polars as pl

from flows.operate.base import NO_TIME, Batch, FrameStep
from flows.operate.changes import TableChanges
from flows.operate.foreign_join import ForeignJoin, Questions
from flows.operate.joins.origins import JoinedTime, WouldClose, held_back
from flows.operate.processing_time import TaskClock
from flows.operate.table_join import TableJoin
from flows.operate.tables import Round, TableStep
from flows.route.repartition import RepartitionWriter

Rounds = dict[str, list[Round]]
"""What a commit has changed by table, in rounds."""


class Feed(msgspec.Struct, kw_only=True):
    """Steps that are given the same batches, and the tables and writers at their ends.

    `after` are what the changes of these tables feed. Time passes through: a table's changes have a stream time too.
    `clocked` is fed with the same rows, with the clock's time.
    """

    steps: list[FrameStep] = []
    tables: list[TableStep] = []
    writers: list[RepartitionWriter] = []
    after: list[ChangeFeed] = []
    clocked: list[ClockFeed] = []
    marked: tuple[int, bool] | None = (NO_TIME, False)
    now: tuple[int, bool] = (NO_TIME, False)

    def flush(self, time: int, idle: bool, written: Rounds) -> None:
        """Bring memtables into the state, each table before what its changes feed; then tell time to the writers."""
        self.now = time, idle
        for table in self.tables:
            table.flush(time)
        for feed in self.after:
            feed.take(time, idle, written)
        for clocked in self.clocked:
            clocked.flush(clocked.clock.read(), idle, written)
        if self.writers and self.marked != (time, idle):
            self.marked = (time, idle)
            for writer in self.writers:
                writer.mark(time, idle)

    def all_tables(self) -> list[TableStep]:
        """Return the tables, also those behind others."""
        return [*self.tables, *(table for feed in self._behind() for table in feed.all_tables())]

    def _behind(self) -> Iterator[Feed]:
        yield from self.after
        yield from self.clocked

    @property
    def waiting(self) -> int:
        """The rows that wait for the commit."""
        return sum(table.waiting for table in self.all_tables())

    @property
    def writes(self) -> bool:
        """Whether anything goes to repartition topics."""
        return bool(self.writers) or any(feed.writes for feed in self._behind())

    def mark_again(self) -> None:
        """Let the next flush tell time to the writers though it has not changed."""
        self.marked = None
        for feed in self._behind():
            feed.mark_again()

    def would_close(self, time: int) -> bool:
        """Tell whether a stream time would close a window that is open now, in whichever table."""
        return any(table.would_close(time) for table in self.tables) or any(
            feed.would_close(feed.table.reached(time)) for feed in self.after
        )

    def let_pass(self, floor: int) -> None:
        """Let the windows that wait for their end know how far silence has moved time."""
        for table in self.tables:
            table.floor = floor

    def resume(self, time: int) -> None:
        """Learn the stream time that was committed."""
        self.now = time, False
        for feed in self.after:
            feed.changes.time = feed.table.reached(time)
            feed.resume(feed.changes.time)
        for clocked in self.clocked:
            clocked.resume(clocked.clock.time)


class ChangeFeed(Feed, kw_only=True):
    """What the changes of a table feed."""

    table: TableStep
    changes: TableChanges

    def take(self, time: int, idle: bool, written: Rounds) -> None:
        """Pass on what the flush has changed in the table."""
        batch = self.changes.take(written.get(self.table.table, ()), self.table.reached(time))
        if batch is not None and batch.frame is not None:
            for step in self.steps:
                step(batch.frame, batch)
        self.changes.time = max(self.changes.time, self.table.reached(time))
        # While a window waits for its end there is something to come, however silent the input is.
        self.flush(self.changes.time, idle and not self.table.is_waiting(), written)


class ClockFeed(Feed, kw_only=True):
    """What goes by the task's clock. Silence says nothing there: time goes on by itself."""

    clock: TaskClock


class JoinFeed(Feed, kw_only=True):
    """What a join of tables feeds. Its time is that of the slower side."""

    join: TableJoin | ForeignJoin
    sides: list[tuple[Feed, TableStep]] = []

    def take(self, written: Rounds, gone: Rounds) -> None:
        """Join what the flush has changed on either side, and pass it on; both sides are flushed already."""
        for _, side in self.sides:
            self.join.take(written.get(side.table, ()), gone.get(side.table, ()))
        self.flush(self.time, all(feed.now[1] for feed, _ in self.sides), written)

    @property
    def time(self) -> int:
        return min(side.reached(feed.now[0]) for feed, side in self.sides)


class AnswerFeed(Feed, kw_only=True):
    """What answers the questions of other tasks' rows, which come from `asked`, by the rows of `table`."""

    questions: Questions
    asked: Feed
    table: tuple[Feed, TableStep]
    then: FrameStep

    @property
    def waiting(self) -> int:
        """The rows and questions that wait for the commit."""
        return sum(table.waiting for table in self.all_tables()) + self.questions.waiting

    def take(self, written: Rounds, gone: Rounds) -> None:
        """Answer what was asked, and what was asked before of rows that changed."""
        feed, table = self.table
        self.questions.learn(written.get(table.table, ()))
        self.questions.answer(self.then, self.time)
        self.flush(self.time, self.asked.now[1] and feed.now[1], written)

    @property
    def time(self) -> int:
        feed, table = self.table
        return min(self.asked.now[0], table.reached(feed.now[0]))


class Joining(Protocol):
    """A step with several inputs: what comes is queued, and looked at once the whole round is there."""

    time: JoinedTime

    def begin(self) -> None: ...

    def take(self, side: int, frame: pl.DataFrame, batch: Batch) -> None: ...

    def run(self, then: FrameStep, turns: int) -> None:
        """Take what came, in the order of the round's turns, and pass on what comes of it."""

    def settle(self, behind: WouldClose) -> bool: ...

    def flush(self) -> None: ...


class Derived(Feed, kw_only=True):
    """What a step with several inputs feeds: its rows have a stream time of their own."""

    step: Joining
    then: FrameStep

    @property
    def origin(self) -> JoinedTime:
        return self.step.time

    @property
    def time(self) -> int:
        """The stream time of the rows, without what silence added."""
        return held_back(self.origin.now, self.origin.hold)

    @property
    def tells_idle(self) -> bool:
        """Whether other tasks are told that nothing comes for now."""
        return self.origin.is_idle and not self.origin.is_asleep

    def set_floors(self) -> None:
        """Tell the tables how far silence has moved time."""
        self.let_pass(held_back(self.origin.silence, self.origin.hold))
