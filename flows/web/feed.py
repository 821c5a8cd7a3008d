"""A table's committed changes on their way to one visitor: taken in step, filtered, and never lost in silence."""

from __future__ import annotations

import asyncio

from flows.query.base import Change, ChangesMissed, key_contains
from flows.web.api.parameters import Selection
from flows.web.journal import Journal


class Feed:
    """Takes the changes of one table, one list at a time, and stops at once when the server closes.

    `number` is that of the last change that was taken, or passed over.
    """

    def __init__(self, journal: Journal, number: int, closing: asyncio.Event) -> None:
        self._journal, self.number = journal, number
        self._closing = asyncio.ensure_future(closing.wait())

    async def take(self, patience: float) -> list[Change] | None:
        """Return the next changes, an empty list after `patience` seconds of quiet, None at the end.

        Raises `ChangesMissed` when there were too many to keep; the feed then goes on with those from now on.
        """
        found = self._since()
        if found or self._closing.done():
            return found or None
        waiting = asyncio.ensure_future(self._journal.wait(self.number))
        await asyncio.wait({waiting, self._closing}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._closing.done():
            return None
        found = self._since()
        return found if found or not self._journal.ended else None

    async def rest(self, seconds: float) -> None:
        """Wait, or until the server closes."""
        await asyncio.wait({self._closing}, timeout=seconds)

    async def aclose(self) -> None:
        """Wait for nothing any more."""
        self._closing.cancel()
        await asyncio.gather(self._closing, return_exceptions=True)

    def _since(self) -> list[Change]:
        try:
            self.number, found = self._journal.since(self.number)
        except ChangesMissed:
            self.number = self._journal.last
            raise
        return found


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
