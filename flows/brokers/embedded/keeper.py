"""The thread that keeps this process's leases: it renews, notices changes, and carries out what members ask.

A thread rather than a task of the loop, so that a long computation in the loop does not cost the lease. A loop that has
not answered for `STALLED` seconds is taken for dead, and its leases run out.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from flows.brokers.embedded import leases
from flows.brokers.embedded.faults import database_fault
from flows.brokers.embedded.leases import Seat, View
from flows.clock import Clock
from flows.errors import BrokerError, Fenced

T = TypeVar("T")
_LOOK = 0.05  # seconds between looks at the group
STALLED = 300.0

_log = logging.getLogger(__name__)


class Held:
    """A seat that is kept, and how the loop is told: `show(view)` of changes, `fail(error)` once when it is lost."""

    def __init__(
        self, seat: Seat, lease: float, show: Callable[[View], None], fail: Callable[[BrokerError], None]
    ) -> None:
        self.seat, self.lease = seat, lease
        self.show, self.fail = show, fail
        self.view: View | None = None
        self.renewed = 0.0  # by the clock
        self.answered = 0.0  # when the loop last showed that it is alive


class Keeper:
    """Own the connection to leases.db and the seats of this process."""

    def __init__(self, connection: sqlite3.Connection, path: Path, clock: Clock) -> None:
        self._connection, self._path, self._clock = connection, path, clock
        self._loop = asyncio.get_running_loop()
        self._held: dict[Seat, Held] = {}
        self._asked: SimpleQueue[tuple[Callable[[], Any], str, Future[Any]]] = SimpleQueue()
        self._something = threading.Event()
        self._closing = False
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="flows-leases", daemon=True)
        self._thread.start()

    async def ask(self, doing: str, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function on leases.db in the thread."""
        if self._closing or self._process != os.getpid():
            raise BrokerError(f"cannot {doing}: the broker is closed", fix="open a broker in this process")
        future: Future[T] = Future()
        self._asked.put((lambda: work(self._connection), doing, future))
        self._something.set()
        return await asyncio.wrap_future(future)

    async def join(self, applicant: leases.Applicant, held: Held) -> None:
        """Take a seat and keep it from now on."""

        def work(db: sqlite3.Connection) -> None:
            now = self._clock.monotonic()
            held.renewed = held.answered = now
            self._tell(held, leases.join(db, applicant, now))
            self._held[held.seat] = held

        await self.ask(f"join group {held.seat.team!r}", work)

    async def release(self, held: Held, tasks: list[str]) -> None:
        """Hand tasks back."""

        def work(db: sqlite3.Connection) -> None:
            self._tell(held, leases.release(db, held.seat, tasks))

        await self.ask(f"release tasks of group {held.seat.team!r}", work)

    async def leave(self, held: Held) -> None:
        """Give the seat back and stop keeping it."""
        await self.ask(f"leave group {held.seat.team!r}", lambda db: self._leave(held))

    def abandon(self, held: Held) -> None:
        """Give a seat back that nobody waits for any more, without waiting."""
        self._asked.put((lambda: self._leave(held), "leave", Future()))
        self._something.set()

    def _leave(self, held: Held) -> None:
        self._held.pop(held.seat, None)
        leases.leave(self._connection, held.seat)

    def now(self) -> float:
        """Return the time that leases are measured by."""
        return self._clock.monotonic()

    def close(self) -> None:
        """Leave all groups and end the thread; blocks."""
        self._closing = True
        self._something.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing:
            self._answer()
            for held in list(self._held.values()):
                self._attend(held)
            self._something.wait(_LOOK)
            self._something.clear()
        self._answer()
        for held in self._held.values():
            self._leave_at_close(held)

    def _answer(self) -> None:
        while True:
            try:
                work, doing, future = self._asked.get_nowait()
            except Empty:
                return
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except sqlite3.Error as error:
                future.set_exception(database_fault(error, self._path, doing))
            except Exception as error:  # noqa: BLE001 - handed to whoever asked
                future.set_exception(error)

    def _attend(self, held: Held) -> None:
        now = self._clock.monotonic()
        renew = now - held.renewed >= held.lease / 3 and now - held.answered < STALLED
        try:
            view = leases.attend(self._connection, held.seat, now, renew=renew)
        except Fenced as error:
            return self._lose(held, error)
        except sqlite3.Error as error:
            # Busy or a full disk may pass; the seat is lost only when the lease could not be renewed in time.
            if now - held.renewed > held.lease:
                self._lose(held, database_fault(error, self._path, "renew the lease"))
            return None
        if renew:
            held.renewed = now
            self._call(lambda: setattr(held, "answered", self._clock.monotonic()))
        return self._tell(held, view)

    def _tell(self, held: Held, view: View) -> None:
        if view != held.view:
            held.view = view
            self._call(held.show, view)

    def _lose(self, held: Held, error: BrokerError) -> None:
        del self._held[held.seat]
        self._call(held.fail, error)

    def _leave_at_close(self, held: Held) -> None:
        try:
            leases.leave(self._connection, held.seat)
        except sqlite3.Error as error:
            _log.warning("%s; the lease runs out by itself", database_fault(error, self._path, "leave the group"))
        self._call(held.fail, BrokerError("the broker is closed"))

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            if not self._loop.is_closed():
                raise
            self._closing = True
