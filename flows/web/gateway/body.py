"""From the bytes of a request to the texts of its events: within bounds of time, size, rows and depth."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator

import msgspec
from aiohttp import web

from flows.web.gateway.base import Budget, GatewayLimits, Refused

JSON, LINES, BYTES = "json", "lines", "bytes"
KINDS = {
    "application/json": JSON,
    "application/x-ndjson": LINES,
    "application/ndjson": LINES,
    "application/jsonl": LINES,
    "application/jsonlines": LINES,
    "application/x-jsonlines": LINES,
    "application/octet-stream": BYTES,
}
_PIECE = 1 << 16

Text = bytes | msgspec.Raw


class Body:
    """The body of one request. What it holds is taken from the budget, and given back by `close`."""

    def __init__(self, budget: Budget, limits: GatewayLimits) -> None:
        self._budget, self._limits = budget, limits
        self._held = 0

    async def read(self, request: web.Request) -> bytes:
        """Read and unpack it all. Raises `Refused`: 408, 413, 415, 429, and 400 where it is not what it says."""
        encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", "x-gzip"):
            raise Refused(415, f"bodies may be packed by gzip, not by {encoding[:40]!r}")
        most = self._limits.body
        if (request.content_length or 0) > most:
            raise self._too_large()
        if request.content.is_eof():  # it came with the head, as small ones do: no clock is needed
            body = request.content.read_nowait()
            self._hold(len(body))
        else:
            body = await self._rest(request)
        if self._held > most:
            raise self._too_large()
        return body if encoding == "identity" else b"".join(self._unpacked(body))

    async def _rest(self, request: web.Request) -> bytes:
        """Read what is still to come."""
        pieces: list[bytes] = []
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while piece := await request.content.readany():
                    self._hold(len(piece))
                    if self._held > self._limits.body:
                        raise self._too_large()
                    pieces.append(piece)
        except TimeoutError:
            raise Refused(408, f"the body did not come within {self._limits.body_seconds:g} s") from None
        return b"".join(pieces)

    def close(self) -> None:
        """Give back what it held."""
        self._budget.give(self._held)
        self._held = 0

    def _hold(self, size: int) -> None:
        self._budget.take(size)
        self._held += size

    def _unpacked(self, body: bytes) -> Iterator[bytes]:
        """Yield the unpacked pieces of one or several members; never makes more than a piece beyond the limit."""
        left = self._limits.body
        while body:
            member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
            while not member.eof:
                try:
                    piece = member.decompress(body, _PIECE)
                except zlib.error as error:
                    raise Refused(400, f"the body is not gzip: {error}") from None
                body = member.unconsumed_tail
                left -= len(piece)
                if left < 0:
                    raise self._too_large()
                if not piece and not body and not member.eof:
                    raise Refused(400, "the body is not gzip: it ends too early")
                self._hold(len(piece))
                yield piece
            body = member.unused_data

    def _too_large(self) -> Refused:
        return Refused(413, f"the body is larger than {self._limits.body} bytes; send it in parts")


def kind_of(content_type: str) -> str:
    """Return how a body is laid out. Raises `Refused` for types that a form of another site can send, among others."""
    kind = KINDS.get(content_type)
    if kind is None:
        raise Refused(415, "send Content-Type: application/json (one event, or an array) or application/x-ndjson")
    return kind


def texts_of(body: bytes, kind: str, raw: bool, limits: GatewayLimits) -> list[tuple[int, Text]]:
    """Split a body into the texts of its events, each with its line, or its place in the array; both begin at 1.

    Raises `Refused`: 400 where it cannot be split, 413 for too many.
    """
    if kind == BYTES and not raw:
        raise Refused(415, "the topic takes JSON; send Content-Type: application/json or application/x-ndjson")
    if kind == LINES:
        lines = body.split(b"\n", limits.rows * 2 + 2)  # empty lines are no events, but neither without bound
        found: list[tuple[int, Text]] = [(n, line) for n, line in enumerate(lines, 1) if line.strip()]
        if len(lines) > limits.rows * 2 + 1:
            raise _too_many(limits)
    elif raw:
        found = [(1, body)]
    elif body.lstrip()[:1] == b"[":
        try:
            found = list(enumerate(msgspec.json.decode(body, type=list[msgspec.Raw]), 1))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refused(400, f"the body is no JSON array: {error}") from None
    else:
        found = [(1, body)]
    if len(found) > limits.rows:
        raise _too_many(limits)
    return found


def _too_many(limits: GatewayLimits) -> Refused:
    return Refused(413, f"more than {limits.rows} events; send them in parts")
