"""A table's latest changes, kept for all who watch it: who lost the connection goes on where that was.

Each change has a number. Of a key only the latest change is kept, so a slow visitor, or one that was away, gets the
latest row of each key that changed meanwhile; past a bound of keys the oldest are dropped, and who has not seen them is
told to read the table again. A journal is kept for some time after its last visitor has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from secrets import token_hex
from typing import Any

from flows.query.base import Change, ChangesMissed, Tables

BOUND = 10_000
"""Keys whose latest changes are kept."""

LINGER = 60.0
"""Seconds for which they are kept while nobody watches."""


class Journal:
    """The latest changes of one table. `id` tells it from those of other workers and times."""

    def __init__(self, tables: Tables, table: str, *, bound: int = BOUND) -> None:
        self.id = token_hex(4)
        self.last = 0
        self.ended = False
        self.readers = 0
        self._floor = 0
        self._bound = bound
        self._latest: dict[tuple[Any, ...], tuple[int, Change]] = {}
        self._news = asyncio.Event()
        self._opened = asyncio.Event()
        self._failure: BaseException | None = None
        self._tables, self._table = tables, table
        self._following = asyncio.create_task(self._follow())

    async def opened(self) -> None:
        """Wait until changes are received, those of other workers too."""
        await self._opened.wait()

    def since(self, number: int) -> tuple[int, list[Change]]:
        """Return the changes behind a number, in order, and the number of the last.

        Raises `ChangesMissed` where some of them are not kept any more; what the source died of, where it did.
        """
        if number < self._floor:
            raise ChangesMissed
        found: list[Change] = []
        for at, change in reversed(self._latest.values()):
            if at <= number:
                break
            found.append(change)
        if not found and self._failure is not None:
            raise self._failure
        found.reverse()
        return self.last, found

    def knows(self, number: int) -> bool:
        """Tell whether all changes behind a number are kept."""
        return self._floor <= number <= self.last

    async def wait(self, number: int) -> None:
        """Wait for more than this number, or for the end."""
        while self.last <= number and not self.ended and number >= self._floor:
            await self._news.wait()

    async def close(self) -> None:
        """Receive no more."""
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)

    async def _follow(self) -> None:
        changes = self._tables.changes(self._table)
        try:
            while True:
                # An async generator registers its reader only when it is first asked.
                first = asyncio.create_task(_next(changes))
                await asyncio.sleep(0)
                opened = getattr(changes, "opened", None)
                if opened is not None:
                    await opened()
                self._opened.set()
                try:
                    self._take(await first)
                    async for found in changes:
                        self._take(found)
                    return
                except StopAsyncIteration:
                    return
                except ChangesMissed:
                    await _close(changes)
                    changes = self._tables.changes(self._table)
                    self._miss()
                finally:
                    first.cancel()
        except Exception as error:  # noqa: BLE001  (it is raised where it is read, once all before it is)
            self._failure = error
        finally:
            await _close(changes)
            self.ended = True
            self._opened.set()
            self._tell()

    def _take(self, changes: list[Change]) -> None:
        for change in changes:
            identity = tuple(change.key.values())
            self._latest.pop(identity, None)
            self.last += 1
            self._latest[identity] = (self.last, change)
        while len(self._latest) > self._bound:
            at, _ = self._latest.pop(next(iter(self._latest)))
            self._floor = at
        self._tell()

    def _miss(self) -> None:
        """Have everyone read the table again: nobody's number is known any more."""
        self._latest.clear()
        self.last += 1
        self._floor = self.last
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class Journals:
    """The journals of all tables that are watched, or were lately. Used with its server's life: `close` ends all."""

    def __init__(self, *, bound: int = BOUND, linger: float = LINGER) -> None:
        self._bound, self._linger = bound, linger
        self._kept: dict[tuple[str, str], Journal] = {}
        self._timers: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def take(self, scope: str, table: str, tables: Tables) -> Journal:
        """Watch a table; every call is followed by one of `give`."""
        place = (scope, table)
        timer = self._timers.pop(place, None)
        if timer is not None:
            timer.cancel()
        journal = self._kept.get(place)
        if journal is None or journal.ended:
            journal = self._kept[place] = Journal(tables, table, bound=self._bound)
        journal.readers += 1
        return journal

    def give(self, scope: str, table: str, journal: Journal) -> None:
        """Watch it no more."""
        journal.readers -= 1
        place = (scope, table)
        if journal.readers or self._kept.get(place) is not journal:
            return
        if journal.ended or not self._linger:
            self._drop(place)
        else:
            self._timers[place] = asyncio.get_running_loop().call_later(self._linger, self._drop, place)

    async def close(self) -> None:
        """End all."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for place in list(self._kept):
            self._drop(place)
        await asyncio.gather(*self._closing)

    def _drop(self, place: tuple[str, str]) -> None:
        self._timers.pop(place, None)
        task = asyncio.create_task(self._kept.pop(place).close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _next(changes: AsyncIterator[list[Change]]) -> list[Change]:
    return await anext(changes)


async def _close(changes: Any) -> None:
    close = getattr(changes, "aclose", None)
    if close is not None:
        await close()
