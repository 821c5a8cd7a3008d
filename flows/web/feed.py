"""A table's committed changes on their way to one visitor: taken in step, filtered, and never lost in silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from flows.query.base import Change, ChangesMissed, Tables, key_contains
from flows.web.api.parameters import Selection


class Feed:
    """Takes the changes of one table, one list at a time, and stops at once when the server closes.

    Receives from its creation on, once `open` has returned.
    """

    def __init__(self, tables: Tables, table: str, closing: asyncio.Event) -> None:
        self._tables = tables
        self._table = table
        self._closing = asyncio.ensure_future(closing.wait())
        self._changes = tables.changes(table)
        self._pending: asyncio.Task[list[Change] | None] | None = None

    async def open(self) -> None:
        """Begin to receive: an async generator registers its reader only when it is first asked."""
        self._pending = asyncio.create_task(self._next())
        await asyncio.sleep(0)
        # Those of other workers are received once they have said so.
        opened = getattr(self._changes, "opened", None)
        if opened is not None:
            await opened()

    async def take(self, patience: float) -> list[Change] | None:
        """Return the next changes, an empty list after `patience` seconds of quiet, None at the end.

        Raises `ChangesMissed` when there were too many to keep; the feed then goes on with those from now on.
        """
        if self._pending is None:
            self._pending = asyncio.create_task(self._next())
        await asyncio.wait({self._pending, self._closing}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if self._closing.done():
            return None
        if not self._pending.done():
            return []
        done, self._pending = self._pending, None
        try:
            return done.result()
        except ChangesMissed:
            await _close(self._changes)
            self._changes = self._tables.changes(self._table)
            await self.open()
            raise

    async def rest(self, seconds: float) -> None:
        """Wait, or until the server closes."""
        await asyncio.wait({self._closing}, timeout=seconds)

    async def aclose(self) -> None:
        """Give the subscription back."""
        waiting = [task for task in (self._pending, self._closing) if task is not None]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await _close(self._changes)

    async def _next(self) -> list[Change] | None:
        try:
            return await anext(self._changes)
        except StopAsyncIteration:
            return None


class Sieve:
    """Keeps the changes that a visitor asked for; with "newest" it follows the newest window as it moves."""

    def __init__(self, selection: Selection, window: float | None) -> None:
        self._key = selection.key
        self._follows = selection.newest
        self.window = window

    def moves(self, changes: list[Change]) -> bool:
        """Go on to the newest window in these changes; tell whether that is another one."""
        if not self._follows:
            return False
        newest = max((_start(change) for change in changes if change.row is not None), default=float("-inf"))
        if newest == float("-inf") or (self.window is not None and newest <= self.window):
            return False
        self.window = newest
        return True

    def keep(self, changes: list[Change]) -> list[Change]:
        """Return those of the chosen window and key."""
        if self.window is not None:
            changes = [change for change in changes if _start(change) == self.window]
        if self._key is not None:
            changes = [change for change in changes if key_contains(change.key, self._key)]
        return changes


def _start(change: Change) -> float:
    return float(change.key.get("window_start", float("-inf")))


async def _close(changes: AsyncIterator[list[Change]]) -> None:
    close = getattr(changes, "aclose", None)
    if close is not None:
        await close()
