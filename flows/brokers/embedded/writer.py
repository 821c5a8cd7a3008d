"""The one thread that writes to broker.db: group commit of whatever is queued.

Each tick takes the turn among processes, opens one SQLite transaction, runs queued jobs in it for at most
`_LONGEST` seconds, each under a savepoint of its own, and commits: many tasks share one wait for the disk.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from flows.brokers.base import TopicPartition
from flows.brokers.embedded.faults import database_fault, primary_code
from flows.brokers.embedded.turn import Turn
from flows.errors import BrokerError, OutcomeUnknown

T = TypeVar("T")
Ends = dict[TopicPartition, int]
_LONGEST = 0.015  # seconds of work in one transaction; the commit itself comes on top
_MOST_BYTES = 16 << 20
_CERTAINLY_NOT_APPLIED = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CONSTRAINT}


class Scope:
    """What a job works with: the connection; it notes the ends it moved (to wake readers) and the bytes written."""

    __slots__ = ("connection", "ends", "written")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.ends: Ends = {}
        self.written = 0


class Job(NamedTuple):
    work: Callable[[Scope], Any]
    doing: str
    future: asyncio.Future[Any] | Future[Any]


class Outcome(NamedTuple):
    job: Job
    scope: Scope
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Run jobs in order, each all-or-nothing.

    `appended` is called in the loop with the new end offsets of a transaction, `wrote` in the thread with its bytes.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        turn: Turn,
        *,
        appended: Callable[[Ends], None],
        wrote: Callable[[int], None],
    ) -> None:
        self._connection, self._path, self._turn = connection, path, turn
        self._appended, self._wrote = appended, wrote
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="flows-writer", daemon=True)
        self._thread.start()

    async def run(self, doing: str, work: Callable[[Scope], T]) -> T:
        """Queue a job from the loop and wait for its commit."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._submit(Job(work, doing, future))
        return await future

    def run_from_thread(self, doing: str, work: Callable[[Scope], T]) -> T:
        """Queue a job from another thread and block until its commit."""
        future: Future[T] = Future()
        self._submit(Job(work, doing, future))
        return future.result()

    def close(self) -> None:
        """Finish what is queued and end the thread; blocks."""
        if not self._closing:
            self._closing = True
            self._jobs.put(None)
        self._thread.join()

    def _submit(self, job: Job) -> None:
        if self._closing:
            raise BrokerError(f"cannot {job.doing}: the broker is closed")
        self._jobs.put(job)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            outcomes = self._tick(job)
            self._wrote(sum(outcome.scope.written for outcome in outcomes))
            self._deliver(outcomes)

    def _tick(self, first: Job) -> list[Outcome]:
        """Write one transaction.

        1. Take the turn and begin.
        2. Run the first job and all that are queued, while there is time.
        3. Commit.
        """
        with self._turn:
            try:
                self._connection.execute("BEGIN IMMEDIATE")  # 1
            except sqlite3.Error as error:
                fault = database_fault(error, self._path, first.doing)
                return self._all_failed([first, *self._queued()], fault)
            outcomes = self._attempt_all(first)  # 2
            return self._commit(outcomes)  # 3

    def _attempt_all(self, first: Job) -> list[Outcome]:
        started, written = time.monotonic(), 0
        outcomes: list[Outcome] = []
        job: Job | None = first
        while job is not None:
            outcomes.append(self._attempt(job))
            written += outcomes[-1].scope.written
            given_up = not self._connection.in_transaction
            if given_up or written >= _MOST_BYTES or time.monotonic() - started >= _LONGEST:
                break
            job = self._next_queued()
        return outcomes

    def _attempt(self, job: Job) -> Outcome:
        scope, execute = Scope(self._connection), self._connection.execute
        if job.future.cancelled():
            return Outcome(job, scope)
        try:
            execute("SAVEPOINT job")
            result = job.work(scope)
            execute("RELEASE job")
        except Exception as error:  # noqa: BLE001 - handed to whoever awaits the job
            return Outcome(job, Scope(self._connection), None, self._roll_back_job(job, error))
        return Outcome(job, scope, result)

    def _roll_back_job(self, job: Job, error: Exception) -> Exception:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK TO job")
                self._connection.execute("RELEASE job")
        except sqlite3.Error:  # then the whole transaction has to go, which tells the others too
            self._connection.rollback()
        return database_fault(error, self._path, job.doing) if isinstance(error, sqlite3.Error) else error

    def _commit(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        if not self._connection.in_transaction:  # SQLite gave all of it up: full disk, I/O error
            fault = next(outcome.error for outcome in reversed(outcomes) if outcome.error is not None)
            return [outcome if outcome.error else _failed(outcome, fault) for outcome in outcomes]
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.rollback()
            fault = self._commit_fault(error)
            return [outcome if outcome.error else _failed(outcome, fault) for outcome in outcomes]
        return list(outcomes)

    def _commit_fault(self, error: sqlite3.Error) -> BrokerError:
        fault = database_fault(error, self._path, "commit")
        if primary_code(error) in _CERTAINLY_NOT_APPLIED:
            return fault
        # The frames may have reached the log before its fsync failed: a later recovery may or may not find them.
        return OutcomeUnknown(fault.message, fix="recover from the committed offsets; check the disk")

    def _deliver(self, outcomes: Sequence[Outcome]) -> None:
        ends: Ends = {}
        waiting = []
        for outcome in outcomes:
            ends.update(outcome.scope.ends)
            if isinstance(outcome.job.future, Future):
                _settle(outcome)
            else:
                waiting.append(outcome)
        if waiting or ends:
            try:
                self._loop.call_soon_threadsafe(self._settle_all, waiting, ends)
            except RuntimeError:
                if not self._loop.is_closed():  # a closed loop has nobody left who waits
                    raise

    def _settle_all(self, outcomes: Sequence[Outcome], ends: Ends) -> None:
        for outcome in outcomes:
            _settle(outcome)
        if ends:
            self._appended(ends)

    def _next_queued(self) -> Job | None:
        try:
            job = self._jobs.get_nowait()
        except Empty:
            return None
        if job is None:
            self._jobs.put(None)  # the end is near, but not in the middle of a transaction
        return job

    def _queued(self) -> list[Job]:
        return list(iter(self._next_queued, None))

    def _all_failed(self, jobs: Sequence[Job], error: BrokerError) -> list[Outcome]:
        return [Outcome(job, Scope(self._connection), None, error) for job in jobs]


def _failed(outcome: Outcome, error: BaseException | None) -> Outcome:
    return Outcome(outcome.job, Scope(outcome.scope.connection), None, error)


def _settle(outcome: Outcome) -> None:
    future = outcome.job.future
    if future.done():  # cancelled while it was written
        return
    if outcome.error is not None:
        future.set_exception(outcome.error)
    else:
        future.set_result(outcome.result)
