"""Events on their way to one visitor: as server-sent events, or by a WebSocket where the request asks for one.

Each event has a name, data as JSON, and an id. Who lost the connection says the last id by the header `Last-Event-ID`,
as browsers do, or by `?last_event_id=`, and goes on behind it. A WebSocket has one text message an event,
`{"event", "data", "id"}`; nothing is to be sent there but its end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from aiohttp import web

from flows.web.answers import bad_request, to_json
from flows.web.base import Context, Limits
from flows.web.endpoint import Media, Parameter

LAST_ID = "last_event_id"
LAST_ID_HEADER = "Last-Event-ID"
RESUME = (
    Parameter(name=LAST_ID_HEADER, where="header", about="The id of the last event that was received."),
    Parameter(name=LAST_ID, about="The same, where no header can be sent."),
)

_LONGEST_ID = 1 << 16
_WORD = 4096
"""Bytes of a message that a visitor may send, who has nothing to say."""


SOCKET = {101: Media((), "With `Upgrade: websocket`, a WebSocket of the same events.")}


def events(about: str) -> Media:
    """Describe an answer that is such a stream."""
    return Media(("text/event-stream",), f"Events: {about}.")


def last_id(request: web.Request) -> str | None:
    """Return the id behind which a visitor wants to go on, None for one that comes anew."""
    found = request.headers.get(LAST_ID_HEADER) or request.query.get(LAST_ID)
    if found is not None and (len(found) > _LONGEST_ID or not found.isascii() or not found.isprintable()):
        raise bad_request(f"{LAST_ID_HEADER} is none that was sent from here")
    return found or None


@contextmanager
def counted(context: Context, scope: str) -> Iterator[None]:
    """Count an open stream, a download or a query. Raises 503 where there are as many as may be."""
    limits = context.limits
    # Other workers have a share of their own, so that visitors cannot cut off theirs.
    most, what = {
        "cluster": (limits.streams, "change streams"),
        "local": (limits.peer_streams, "change streams"),
        "downloads": (limits.downloads, "downloads"),
        "queries": (limits.queries, "queries"),
    }[scope]
    if context.streams[scope] >= most:
        words = f"{context.streams[scope]} {what} are open, which is the most; close one, or ask again later"
        raise web.HTTPServiceUnavailable(text=words, headers={"Retry-After": "5"})
    context.streams[scope] += 1
    try:
        yield
    finally:
        context.streams[scope] -= 1


class Channel(Protocol):
    """One visitor's connection; every call tells whether the visitor is still there."""

    @property
    def response(self) -> web.StreamResponse: ...

    async def start(self) -> bool:
        """Begin the answer."""

    async def send(self, event: str, data: Any, id: str | None = None) -> bool:
        """Send one event."""

    async def beat(self) -> bool:
        """Say something where nothing was sent for a while, which finds a visitor that left without a word."""

    async def close(self) -> None:
        """End the answer, where it was begun."""


def channel_of(request: web.Request, limits: Limits) -> Channel:
    """Make the channel that a request asks for."""
    if request.headers.get("Upgrade", "").lower() == "websocket":
        return _Socket(request, limits)
    return _Stream(request, limits)


class _Stream:
    """Server-sent events."""

    def __init__(self, request: web.Request, limits: Limits) -> None:
        self._request, self._limits = request, limits
        self._sent = time.monotonic()
        self.response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
        )

    async def start(self) -> bool:
        try:
            await self.response.prepare(self._request)
        except ConnectionResetError:
            return False
        return True

    async def send(self, event: str, data: Any, id: str | None = None) -> bool:
        # JSON holds no line break, so the data is always one line.
        head = b"" if id is None else b"id: %b\n" % id.encode()
        return await self._write(b"%bevent: %b\ndata: %b\n\n" % (head, event.encode(), to_json(data)))

    async def beat(self) -> bool:
        quiet = time.monotonic() - self._sent
        return quiet < self._limits.heartbeat * 0.9 or await self._write(b": beat\n\n")

    async def close(self) -> None:
        """Leave the end to aiohttp, which sends it when the handler returns."""

    async def _write(self, message: bytes) -> bool:
        try:
            async with asyncio.timeout(self._limits.patience):
                await self.response.write(message)
                # A write below the buffer's mark does not give way; a long list must not hold up the worker.
                await asyncio.sleep(0)
        except ConnectionResetError:
            return False
        except TimeoutError:
            _abort(self._request)
            return False
        self._sent = time.monotonic()
        return True


class _Socket:
    """A WebSocket. Its pings find who left; they are answered while something reads here, which `_drain` does."""

    def __init__(self, request: web.Request, limits: Limits) -> None:
        self._request, self._limits = request, limits
        self._draining: asyncio.Task[None] | None = None
        self.response = web.WebSocketResponse(
            heartbeat=limits.heartbeat, max_msg_size=_WORD, compress=False, timeout=1.0
        )

    async def start(self) -> bool:
        try:
            await self.response.prepare(self._request)
        except ConnectionResetError:
            return False
        self._draining = asyncio.create_task(self._drain())
        return True

    async def send(self, event: str, data: Any, id: str | None = None) -> bool:
        try:
            async with asyncio.timeout(self._limits.patience):
                await self.response.send_str(to_json({"event": event, "data": data, "id": id}).decode())
                await asyncio.sleep(0)
        except ConnectionResetError:
            return False
        except TimeoutError:
            _abort(self._request)
            return False
        return not self.response.closed

    async def beat(self) -> bool:
        return not self.response.closed

    async def close(self) -> None:
        draining, self._draining = self._draining, None
        if draining is not None:
            draining.cancel()
            await asyncio.gather(draining, return_exceptions=True)
            await self.response.close()

    async def _drain(self) -> None:
        async for _ in self.response:
            pass


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
