"""Wake waiting readers: at once for commits of this process, within milliseconds for those of others.

Others' commits show as a change of SQLite's `data_version`, which costs microseconds to ask. It is asked from a
thread, and only while somebody waits: every `_EAGER` seconds while something happens, less often in long silence.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Mapping

from flows.brokers.base import TopicPartition
from flows.brokers.embedded.log import all_ends
from flows.brokers.embedded.schema import pragma

_EAGER = 0.003  # seconds between looks while records flow
_LAZY = 0.025  # and in silence
_ALERT_FOR = 2.0  # seconds of silence until the looks become rarer


class Ticket:
    """One waiting reader: the position it has reached in each partition that it wants more of."""

    __slots__ = ("future", "wanted")

    def __init__(self, wanted: Mapping[TopicPartition, int], future: asyncio.Future[None]) -> None:
        self.wanted, self.future = wanted, future

    def wake(self) -> None:
        """End the wait."""
        if not self.future.done():
            self.future.set_result(None)

    async def wait(self, timeout: float) -> None:
        """Wait until woken, at most `timeout` seconds."""
        timer = self.future.get_loop().call_later(timeout, self.wake)
        try:
            await self.future
        finally:
            timer.cancel()


class Watch:
    """Keep the tickets of those who wait; lives in the loop, with one thread that looks at the file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._tickets: set[Ticket] = set()
        self._somebody = threading.Event()
        self._closing = False
        self._ending = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="flows-watch", daemon=True)
        self._thread.start()

    def enter(self, wanted: Mapping[TopicPartition, int]) -> Ticket:
        """Take a ticket; do so before the read that may find nothing, so that no commit falls in between."""
        ticket = Ticket(wanted, self._loop.create_future())
        self._tickets.add(ticket)
        self._somebody.set()
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give a ticket back."""
        self._tickets.discard(ticket)
        with self._ending:
            if not self._tickets and not self._closing:
                self._somebody.clear()

    def appended(self, ends: Mapping[TopicPartition, int]) -> None:
        """Wake whoever wants one of these partitions and has not read so far."""
        for ticket in self._tickets:
            wanted = ticket.wanted
            if any(end > wanted.get(tp, end) for tp, end in ends.items()):
                ticket.wake()

    def wake_all(self) -> None:
        """Wake everybody, to look for themselves."""
        for ticket in self._tickets:
            ticket.wake()

    def close(self) -> None:
        """End the thread; blocks for a moment."""
        with self._ending:  # else the last reader to leave, in the loop, could send the thread to sleep for ever
            self._closing = True
            self._somebody.set()
        self._thread.join()

    def _run(self) -> None:
        seen, quiet_since = -1, time.monotonic()
        while True:
            if not self._somebody.is_set():
                self._somebody.wait()
                quiet_since = time.monotonic()
            if self._closing:
                return
            version = self._look(seen)
            if version != seen:
                seen, quiet_since = version, time.monotonic()
            time.sleep(_EAGER if time.monotonic() - quiet_since < _ALERT_FOR else _LAZY)

    def _look(self, seen: int) -> int:
        try:
            version = pragma(self._connection, "data_version")
            if version != seen:
                self._tell(self.appended, all_ends(self._connection))
        except sqlite3.Error:
            self._tell(self.wake_all)  # the readers meet the error themselves, and can raise it
            return seen
        return version

    def _tell(self, *call: object) -> None:
        function, *arguments = call
        try:
            self._loop.call_soon_threadsafe(function, *arguments)  # type: ignore[arg-type]
        except RuntimeError:
            if not self._loop.is_closed():
                raise
            self._closing = True
