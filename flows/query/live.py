"""The live view's last step: committed changes on their way from a commit to whoever watches a table.

The engine publishes after each commit, from the event loop; readers iterate. Publishing costs an append per
reader. A reader that lags gets the latest change of each key, and one that lags beyond the bound is told so by
`ChangesMissed`: it reads the table again and goes on.
"""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakSet

from flows.query.base import Change, ChangesMissed

DEFAULT_BOUND = 10_000
"""Keys that a slow reader may have waiting before it must read the table again."""


class Subscription:
    """One reader's way through a table's changes; registered from its creation until `aclose` or its collection.

    Iterating yields non-empty lists, each key at most once in a list, later changes after earlier ones.
    """

    def __init__(self, table: str, bound: int, readers: WeakSet[Subscription]) -> None:
        self.table = table
        self._bound = bound
        self._readers = readers
        readers.add(self)
        self._batches: list[list[Change]] = []
        self._count = 0
        self._missed = False
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> list[Change]:
        """Return what changed since the last call, waiting for it; raises `ChangesMissed` past the bound."""
        if self._waiter is not None:
            raise RuntimeError(f"two readers share one subscription of {self.table!r}; subscribe once for each")
        while not (self._batches or self._missed or self._closed):
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._take()

    async def aclose(self) -> None:
        """Stop receiving; the iteration ends."""
        self.close()

    def close(self) -> None:
        """Stop receiving; what waits is dropped and the iteration ends."""
        self._closed = True
        self._missed = False
        self._readers.discard(self)
        self._clear()
        self._wake()

    def put(self, changes: list[Change]) -> None:
        """Keep a commit's changes for the reader. The list is shared between readers and must not change."""
        if self._closed or self._missed or not changes:
            return
        self._batches.append(changes)
        self._count += len(changes)
        # Coalescing only at twice the bound makes its cost constant per change, even near the bound.
        if self._count > 2 * self._bound:
            self._coalesce()
        self._wake()

    def miss(self) -> None:
        """Have the reader read the table again: something changed that comes as no change."""
        if not self._closed:
            self._clear()
            self._missed = True
            self._wake()

    def _take(self) -> list[Change]:
        if self._missed:
            self._missed = False
            raise ChangesMissed(f"more of {self.table!r} changed than is kept for a reader; read the table again")
        if not self._batches:
            raise StopAsyncIteration
        taken = _latest(self._batches)
        self._clear()
        return taken

    def _coalesce(self) -> None:
        kept = _latest(self._batches)
        if len(kept) > self._bound:
            self._clear()
            self._missed = True
        else:
            self._batches, self._count = [kept], len(kept)

    def _clear(self) -> None:
        self._batches, self._count = [], 0

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class ChangeHub:
    """Bring each table's committed changes to its readers. All calls come from one event loop.

    >>> hub = ChangeHub()
    >>> hub.wanted("orders")
    False
    >>> reader = hub.subscribe("orders")
    >>> hub.wanted("orders")
    True
    """

    def __init__(self, bound: int = DEFAULT_BOUND) -> None:
        self._bound = bound
        self._readers: dict[str, WeakSet[Subscription]] = {}

    def wanted(self, table: str) -> bool:
        """Tell whether anyone watches the table, so that changes nobody sees need not be made."""
        return bool(self._readers.get(table))

    def publish(self, table: str, changes: list[Change]) -> None:
        """Hand a commit's changes to the table's readers; never waits for them. Leave the list as it is."""
        for reader in self._readers.get(table, ()):
            reader.put(changes)

    def miss(self, table: str) -> None:
        """Have the table's readers read it again: rows came or went that nobody changed, as in a restore."""
        for reader in self._readers.get(table, ()):
            reader.miss()

    def subscribe(self, table: str) -> Subscription:
        """Watch a table: changes published from this call on are received. Close it by `aclose`."""
        return Subscription(table, self._bound, self._readers.setdefault(table, WeakSet()))

    def close(self) -> None:
        """End every reader's iteration."""
        for readers in list(self._readers.values()):
            for reader in list(readers):
                reader.close()


def _latest(batches: list[list[Change]]) -> list[Change]:
    latest: dict[tuple[Any, ...], Change] = {}
    for changes in batches:
        for change in changes:
            identity = tuple(change.key.values())
            latest.pop(identity, None)
            latest[identity] = change
    return list(latest.values())
