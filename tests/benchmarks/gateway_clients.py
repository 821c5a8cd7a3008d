"""Thousands of clients in one process: they say no more than HTTP needs, so that the gateway is measured, not they."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from time import perf_counter

_RETRY = (0.05, 0.3)
_UPGRADE = (
    b"GET /topics/clicks HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)


class Load:
    """What all clients share: the numbers of the next events, what was acknowledged and how long it took."""

    def __init__(self, port: int, *, keyed: bool, first: int = 0) -> None:
        self.port, self.keyed = port, keyed
        self.numbers = itertools.count(first)
        self.waits: list[float] = []
        self.acked: list[int] = []
        self.sent: set[int] = set()
        self.statuses: dict[int, int] = {}
        self.running = False
        self.retries = 0

    def next(self) -> int:
        number = next(self.numbers)
        self.sent.add(number)
        return number

    def answered(self, number: int, began: float, status: int) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status == 200:
            self.acked.append(number)
            self.waits.append(perf_counter() - began)


def event(number: int) -> bytes:
    return b'{"number":%d,"user":"user%d","amount":1.5}' % (number, number % 1000)


class Poster(asyncio.Protocol):
    """One connection that posts an event after the other, or when it is told to."""

    def __init__(self, load: Load, *, closed_loop: bool, idle: Callable[[Poster], None] | None = None) -> None:
        self._load, self._closed_loop, self._idle = load, closed_loop, idle
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self.number: int | None = None
        self.began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._buffer = transport, b""
        if self.number is not None:
            self._write()

    def post(self, began: float) -> None:
        """Post the next event, which was due at this time."""
        self.number, self.began = self._load.next(), began
        self._write()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _write(self) -> None:
        if self._transport is None or self._transport.is_closing() or self.number is None:
            return
        body = event(self.number)
        key = b"Idempotency-Key: n%d\r\n" % self.number if self._load.keyed else b""
        head = b"POST /topics/clicks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        self._transport.write(b"%b%bContent-Length: %d\r\n\r\n%b" % (head, key, len(body), body))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        length = int(self._buffer.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        if len(self._buffer) < end + 4 + length:
            return
        status, number = int(self._buffer[9:12]), self.number
        self._buffer = b""
        assert number is not None
        self._load.answered(number, self.began, status)
        if status in (429, 503):
            self._later(self._write)
            return
        self.number = None
        if self._closed_loop and self._load.running:
            self.post(perf_counter())
        elif self._idle is not None:
            self._idle(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self.number is not None:
            self._later(self._connect)

    def _later(self, call: Callable[[], None]) -> None:
        self._load.retries += 1
        asyncio.get_running_loop().call_later(random.uniform(*_RETRY), call)

    def _connect(self) -> None:
        connecting = asyncio.ensure_future(
            asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._load.port)
        )
        connecting.add_done_callback(lambda task: task.exception() and self._later(self._connect))


class Pourer(asyncio.Protocol):
    """One WebSocket with so many messages on the way."""

    def __init__(self, load: Load, window: int) -> None:
        self._load, self._window = load, window
        self._buffer = b""
        self._on_the_way: list[tuple[int, float]] = []
        self.ready = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(_UPGRADE)

    def begin(self) -> None:
        for _ in range(self._window):
            self._send()

    def close(self) -> None:
        self._transport.close()

    def _send(self) -> None:
        number = self._load.next()
        self._on_the_way.append((number, perf_counter()))
        text = b'{"seq":%d,"value":%b}' % (number, event(number))
        self._transport.write(b"\x81" + bytes([0x80 | len(text)]) + bytes(4) + text)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self.ready.done():
            _, found, self._buffer = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            self.ready.set_result(None)
        while len(self._buffer) >= 2 and len(self._buffer) >= 2 + self._buffer[1]:
            size = self._buffer[1]
            kind, text, self._buffer = self._buffer[0], self._buffer[2 : 2 + size], self._buffer[2 + size :]
            if kind == 0x81 and text.startswith(b'{"ack":'):
                self._acked(int(text[7:-1]))
            elif kind == 0x89:
                self._transport.write(b"\x8a\x80" + bytes(4))

    def _acked(self, seq: int) -> None:
        count = sum(number <= seq for number, _ in self._on_the_way)
        done, self._on_the_way = self._on_the_way[:count], self._on_the_way[count:]
        for number, began in done:
            self._load.answered(number, began, 200)
            if self._load.running:
                self._send()


async def connected(load: Load, count: int, make: Callable[[], asyncio.Protocol]) -> list[asyncio.Protocol]:
    """Open connections, some hundreds at a time."""
    loop, found = asyncio.get_running_loop(), []
    for start in range(0, count, 250):
        opening = (loop.create_connection(make, "127.0.0.1", load.port) for _ in range(start, min(count, start + 250)))
        found += [protocol for _, protocol in await asyncio.gather(*opening)]
    return found
