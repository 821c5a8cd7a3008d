"""`/api/tables/NAME/changes`: a table's committed changes, as server-sent events or by a WebSocket.

1. `ready` once changes are being received: whoever reads the rows after it misses nothing in between.
2. `changes` with a JSON list of `{"key", "row"}`, row null where it was removed; at most one message in
   `Limits.pace`, the latest row of each key.
3. `window` when `?window=newest` goes on to a newer window; all rows of it follow as changes.
4. `resync` when the rows must be read again: the visitor was too slow for what changed, or partitions came or went.
5. A comment, or a ping, as heartbeat when there was nothing to send.

`ready`, `window` and `resync` carry `{"window": start}`, the one that `newest` means, else null. Who comes again with
the last id gets `resumed` in place of `ready`, and then the changes that came meanwhile, the latest of each key: the
rows need not be read again. Where these changes are not kept any more, or by another worker, it is `ready`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from aiohttp import web

from flows.query.base import Change, ChangesMissed, TableInfo, Tables
from flows.web.answers import logger
from flows.web.api.parameters import (
    KEY,
    SCOPE,
    TABLE,
    WINDOW,
    Selection,
    scope_of,
    selection_of,
    table_of,
    tables_of,
    window_of,
)
from flows.web.base import CONTEXT, Limits
from flows.web.channel import RESUME, SOCKET, Channel, channel_of, counted, events, last_id
from flows.web.endpoint import Endpoint
from flows.web.feed import Feed, Sieve
from flows.web.journal import Journal

_MESSAGE = 1000
"""Changes in one message; a longer list goes in several, and earns the visitor a longer pause."""


def endpoints() -> list[Endpoint]:
    """Return `GET /api/tables/NAME/changes`."""
    return [
        Endpoint(
            method="GET",
            path="/api/tables/{name}/changes",
            handler=table_changes,
            parameters=(TABLE, KEY, WINDOW, SCOPE, *RESUME),
            answer=events("ready, resumed, changes, window, resync"),
            others=SOCKET,
            streams=True,
        )
    ]


class Mark(NamedTuple):
    """Where a visitor was: which journal, the number of the last change, the window that it followed."""

    journal: str
    number: int
    window: float | None

    def __str__(self) -> str:
        return f"{self.journal}-{self.number}-{'' if self.window is None else self.window}"

    @classmethod
    def read(cls, text: str | None) -> Mark | None:
        """Read what was sent as an id; None for anything else."""
        journal, _, rest = (text or "").partition("-")
        number, _, window = rest.partition("-")
        if not (number.isascii() and number.isdigit() and len(number) < 19):
            return None
        try:
            start = float(window) if window else None
        except ValueError:
            return None
        return cls(journal, int(number), start) if start is None or math.isfinite(start) else None


async def table_changes(request: web.Request) -> web.StreamResponse:
    """Stream a table's changes until the visitor leaves or the server stops.

    `ready` comes once changes are received: read the rows then. `changes` have the latest row of each key, null where
    it was removed. `window` tells that `?window=newest` goes on to a newer one, `resync` to read the rows again. With
    the id of the last event `resumed` comes in place of `ready`, where the changes since are still known: the rows need
    not be read again.
    """
    context, info, scope = request.app[CONTEXT], table_of(request), scope_of(request)
    selection, tables, mark = selection_of(request, info), tables_of(request), Mark.read(last_id(request))
    channel = channel_of(request, context.limits)
    with counted(context, scope):
        journal = context.journals.take(scope, info.name, tables)
        feed = Feed(journal, journal.last, context.closing)
        try:
            await _pump(channel, feed, journal, context.limits, tables, info, selection, mark)
        except Exception:
            if not channel.response.prepared:
                raise
            # Half of the answer is sent: all that is left is to end it, upon which the page asks anew and is told why.
            logger.exception("the changes of table %r ended", info.name)
        finally:
            context.journals.give(scope, info.name, journal)
            await feed.aclose()
            await channel.close()
    return channel.response


async def _pump(
    channel: Channel,
    feed: Feed,
    journal: Journal,
    limits: Limits,
    tables: Tables,
    info: TableInfo,
    selection: Selection,
    mark: Mark | None,
) -> None:
    await journal.opened()
    resumes = mark is not None and mark.journal == journal.id and journal.knows(mark.number)
    if mark is not None and resumes:
        feed.number, sieve = mark.number, Sieve(selection, mark.window if selection.newest else selection.window)
    else:
        feed.number = journal.last
        sieve = Sieve(selection, await window_of(selection, tables, info))

    async def tell(event: str) -> bool:
        return await channel.send(event, {"window": sieve.window}, str(Mark(journal.id, feed.number, sieve.window)))

    open_ = await channel.start() and await tell("resumed" if resumes else "ready")
    while open_:
        number = feed.number
        try:
            batch = await feed.take(limits.heartbeat)
        except ChangesMissed:
            sieve = Sieve(selection, await window_of(selection, tables, info))
            open_ = await tell("resync")
            continue
        if batch is None:
            break
        moves, kept = sieve.moves(batch), sieve.keep(batch)
        if moves:
            # The changes of the newer window follow: who is cut off between gets them again.
            before = str(Mark(journal.id, number, sieve.window))
            open_ = await channel.send("window", {"window": sieve.window}, before)
        open_ = open_ and await _deliver(channel, kept, str(Mark(journal.id, feed.number, sieve.window)))
        if batch:
            await feed.rest(limits.pace * max(1.0, len(kept) / _MESSAGE))


async def _deliver(channel: Channel, kept: list[Change], id: str) -> bool:
    for start in range(0, len(kept), _MESSAGE):
        part = [{"key": change.key, "row": change.row} for change in kept[start : start + _MESSAGE]]
        # Who is cut off between two parts gets all of them again: only the last one has the id behind them.
        if not await channel.send("changes", part, id if start + _MESSAGE >= len(kept) else None):
            return False
    return await channel.beat()
