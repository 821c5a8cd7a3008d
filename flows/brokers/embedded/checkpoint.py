"""The dedicated checkpointer: keeps the write-ahead log short without a committer waiting for it.

A passive checkpoint moves what is committed into broker.db while others go on writing; but under a steady stream of
commits it never quite ends, and only a log that was moved completely starts again at its beginning. So a log that
has grown past `_TOO_LONG` is moved once more within a turn, when nobody adds to it and little is left to move.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from pathlib import Path

from flows.brokers.embedded.faults import database_fault
from flows.brokers.embedded.schema import pragma
from flows.brokers.embedded.turn import Turn

_EVERY = 4 << 20  # bytes written by this process between two checkpoints
_TOO_LONG = 16 << 20
_PER_COMMIT = 16 << 10  # bytes of pages that a commit rewrites beside its records
_READERS = 0.05  # seconds to wait, within the turn, for readers of the old log

_log = logging.getLogger(__name__)


class Checkpointer:
    """One thread with a connection and a turn of its own."""

    def __init__(self, connection: sqlite3.Connection, path: Path, turn: Turn) -> None:
        self._connection, self._path, self._turn = connection, path, turn
        connection.execute("PRAGMA wal_autocheckpoint=0").fetchone()
        connection.execute(f"PRAGMA busy_timeout={int(_READERS * 1000)}").fetchone()
        self._page = pragma(connection, "page_size")
        self._written = 0
        self._due = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="flows-checkpoint", daemon=True)
        self._thread.start()

    def wrote(self, size: int) -> None:
        """Count one commit of `size` bytes of records; called by the writer."""
        self._written += size + _PER_COMMIT
        if self._written >= _EVERY:
            self._due.set()

    def close(self) -> None:
        """End the thread; blocks."""
        self._closing = True
        self._due.set()
        self._thread.join()

    def _run(self) -> None:
        failing = False
        while True:
            self._due.wait()
            if self._closing:
                return
            self._due.clear()
            self._written = 0
            try:
                self._checkpoint()
                failing = False
            except sqlite3.Error as error:
                if not failing:  # the log only grows meanwhile, and the writer meets a full disk itself
                    _log.warning("%s", database_fault(error, self._path, "checkpoint"))
                failing = True

    def _checkpoint(self) -> None:
        _, frames, _ = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if frames * self._page > _TOO_LONG:
            with self._turn:
                self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
