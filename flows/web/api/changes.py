"""`/api/tables/NAME/changes`: a table's committed changes as server-sent events.

1. `ready` once changes are being received: whoever reads the rows after it misses nothing in between.
2. `changes` with a JSON list of `{"key", "row"}`, row null where it was removed; at most one message in
   `Limits.pace`, the latest row of each key.
3. `window` when `?window=newest` goes on to a newer window; all rows of it follow as changes.
4. `resync` when the rows must be read again: the visitor was too slow for what changed, or partitions came or went.
5. A comment as heartbeat when there was nothing to send.

`ready`, `window` and `resync` carry `{"window": start}`, the one that `newest` means, else null.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiohttp import web

from flows.query.base import Change, ChangesMissed, TableInfo, Tables
from flows.web.answers import logger, to_json
from flows.web.api.parameters import LOCAL, Selection, scope_of, selection_of, table_of, tables_of, window_of
from flows.web.base import CONTEXT, Context, Limits
from flows.web.feed import Feed, Sieve

_MESSAGE = 1000
"""Changes in one message; a longer list goes in several, and earns the visitor a longer pause."""


def routes() -> list[web.AbstractRouteDef]:
    """Return `GET /api/tables/NAME/changes`."""
    return [web.get("/api/tables/{name}/changes", changes, allow_head=False)]


async def changes(request: web.Request) -> web.StreamResponse:
    """Stream the changes, `?key=&window=&scope=` applied, until the visitor leaves or the server stops."""
    context, info, scope = request.app[CONTEXT], table_of(request), scope_of(request)
    selection = selection_of(request, info)
    # Other workers have a share of their own, so that visitors cannot cut off theirs.
    most = context.limits.peer_streams if scope == LOCAL else context.limits.streams
    if context.streams[scope] >= most:
        words = f"{context.streams[scope]} change streams are open, which is the most; close one, or ask again later"
        raise web.HTTPServiceUnavailable(text=words, headers={"Retry-After": "5"})
    stream = _Stream(request, context)
    tables = tables_of(request)
    feed = Feed(tables, info.name, context.closing)
    context.streams[scope] += 1
    try:
        await _pump(stream, feed, context.limits, tables, info, selection)
    except Exception:
        if not stream.response.prepared:
            raise
        # Half of the answer is sent: all that is left is to end it, upon which the page asks anew and is told why.
        logger.exception("the changes of table %r ended", info.name)
    finally:
        context.streams[scope] -= 1
        await feed.aclose()
    return stream.response


async def _pump(
    stream: _Stream, feed: Feed, limits: Limits, tables: Tables, info: TableInfo, selection: Selection
) -> None:
    await feed.open()
    sieve = Sieve(selection, await window_of(selection, tables, info))
    open_ = await stream.start() and await stream.send("ready", {"window": sieve.window})
    while open_:
        try:
            batch = await feed.take(limits.heartbeat)
        except ChangesMissed:
            sieve = Sieve(selection, await window_of(selection, tables, info))
            open_ = await stream.send("resync", {"window": sieve.window})
            continue
        if batch is None:
            break
        moves, kept = sieve.moves(batch), sieve.keep(batch)
        open_ = (not moves or await stream.send("window", {"window": sieve.window})) and await _deliver(stream, kept)
        if batch:
            await feed.rest(limits.pace * max(1.0, len(kept) / _MESSAGE))


async def _deliver(stream: _Stream, kept: list[Change]) -> bool:
    for start in range(0, len(kept), _MESSAGE):
        part = [{"key": change.key, "row": change.row} for change in kept[start : start + _MESSAGE]]
        if not await stream.send("changes", part):
            return False
    return await stream.beat()


class _Stream:
    """One open response; every call tells whether the visitor is still there."""

    def __init__(self, request: web.Request, context: Context) -> None:
        self._request = request
        self._limits = context.limits
        self._sent = time.monotonic()
        self.response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
        )

    async def start(self) -> bool:
        """Send the headers."""
        try:
            await self.response.prepare(self._request)
        except ConnectionResetError:
            return False
        return True

    async def send(self, event: str, data: Any) -> bool:
        """Send one event."""
        # JSON holds no line break, so the data is always one line.
        return await self._write(b"event: %b\ndata: %b\n\n" % (event.encode(), to_json(data)))

    async def beat(self) -> bool:
        """Send a comment where nothing was sent for a while, which finds a visitor that left without a word."""
        quiet = time.monotonic() - self._sent
        return quiet < self._limits.heartbeat * 0.9 or await self._write(b": beat\n\n")

    async def _write(self, message: bytes) -> bool:
        try:
            async with asyncio.timeout(self._limits.patience):
                await self.response.write(message)
                # A write below the buffer's mark does not give way; a long list must not hold up the worker.
                await asyncio.sleep(0)
        except ConnectionResetError:
            return False
        except TimeoutError:
            self._abort()
            return False
        self._sent = time.monotonic()
        return True

    def _abort(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()
