"""Bytes sent exactly as they are, which no well-behaved client does."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType

DEADLINE = 30.0


class Raw:
    """A connection; used with `async with`."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Raw:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def until_closed(self) -> bytes:
        """Return all that comes until the other side hangs up, at most the deadline."""
        async with asyncio.timeout(DEADLINE):
            try:
                return await self._reader.read()
            except ConnectionResetError:
                return b""

    async def answer(self) -> int:
        """Return the status of the next answer, without its body."""
        async with asyncio.timeout(DEADLINE):
            head = await self._reader.readuntil(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1])


def head(path: str, *lines: str, method: str = "POST") -> bytes:
    """Return the head of a request, with these header lines besides the usual ones."""
    usual = ("Host: 127.0.0.1", "Content-Type: application/json")
    return "\r\n".join([f"{method} {path} HTTP/1.1", *usual, *lines, "", ""]).encode("latin-1")
