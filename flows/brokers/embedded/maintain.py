"""Housekeeping of broker.db, by one process at a time: old records go, topics are compacted, the file shrinks.

All changes go through the writer in small jobs, so that commits pass between them and the lock is never held long.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from flows.brokers.embedded import compact, retain
from flows.brokers.embedded.faults import database_fault
from flows.brokers.embedded.locks import FileLock
from flows.brokers.embedded.schema import pragma
from flows.brokers.embedded.writer import Scope, Writer
from flows.clock import Clock
from flows.errors import BrokerError, BrokerUnavailable

T = TypeVar("T")
_FREE_PAGES = 1024  # kept for what comes next; the file shrinks when there are more, and more than a quarter
_BY_HAND = 30.0  # seconds to wait for another process that is at it

_POLL = 0.01

_log = logging.getLogger(__name__)


class _Stopped(Exception):
    """The broker closes; what is left is for the next round."""


class Maintainer:
    """A thread that does a round every `interval` seconds, and at once when `nudge`d; None means only by hand."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        writer: Writer,
        clock: Clock,
        interval: float | None,
    ) -> None:
        self._connection, self._path, self._writer, self._clock = connection, path, writer, clock
        self._interval = interval
        self._lock = FileLock(path.parent / "maintain.lock")
        self._busy = threading.Lock()
        self._due = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="flows-maintain", daemon=True)
        self._thread.start()

    def nudge(self) -> None:
        """Ask for a round soon."""
        if self._interval is not None:
            self._due.set()

    def round_by_hand(self) -> None:
        """Do all that can be done now, however little it is; blocks. Raises `BrokerUnavailable`."""
        with self._busy:
            if not self._lock.take(time.monotonic() + _BY_HAND, _POLL):
                raise BrokerUnavailable(
                    f"cannot maintain {self._path}: another process has been at it for {_BY_HAND:.0f} s",
                    fix="try again later",
                )
            self._locked_round(every=True)

    def close(self) -> None:
        """End the thread after the job that it is at; blocks."""
        self._closing = True
        self._due.set()
        self._thread.join()
        with self._busy:
            self._lock.close()

    def _run(self) -> None:
        while True:
            self._due.wait(self._interval)
            self._due.clear()
            if self._closing:
                return
            with self._busy:
                if self._lock.try_take():
                    self._background_round()

    def _background_round(self) -> None:
        try:
            self._locked_round(every=False)
        except BrokerError as error:
            _log.warning("maintenance is put off: %s", error)
        except Exception:  # noqa: BLE001 - logged with its traceback; the thread has to live on
            _log.exception("maintenance of %s failed; it will be tried again", self._path)

    def _locked_round(self, *, every: bool) -> None:
        try:
            self._round(every=every)
        except _Stopped:
            _log.debug("maintenance of %s ends with the broker", self._path)
        except sqlite3.Error as error:
            raise database_fault(error, self._path, "maintain the topics") from error
        finally:
            self._lock.give_back()

    def _round(self, *, every: bool) -> None:
        """Do one round.

        1. Start offsets move past records older than their topic's retention.
        2. Batches below start offsets, and of deleted topics, are dropped.
        3. Compacted topics are compacted.
        4. The file shrinks.
        """
        now = self._clock.now()
        for old in retain.expired(self._connection, now):  # 1
            self._job("drop old records", partial(retain.raise_start, old))
        while self._sweep_more():  # 2
            pass
        for dirty in compact.due(self._connection, now, every=every):  # 3
            self._compact(dirty, now)
        while self._freed():  # 4
            self._job("shrink the file", retain.vacuum)

    def _sweep_more(self) -> bool:
        partitions = retain.to_sweep(self._connection)
        return bool(partitions) and self._job("drop records", partial(retain.sweep, partitions))

    def _compact(self, dirty: compact.Dirty, now: float) -> None:
        try:
            compact.compact(self._connection, dirty, now, self._job)
        except compact.Displaced as error:
            _log.debug("%s is left for the next round: %s", dirty.name, error)

    def _freed(self) -> bool:
        free, pages = pragma(self._connection, "freelist_count"), pragma(self._connection, "page_count")
        return free > _FREE_PAGES and free > pages // 4

    def _job(self, doing: str, work: Callable[[Scope], T]) -> T:
        if self._closing:
            raise _Stopped
        return self._writer.run_from_thread(doing, work)
