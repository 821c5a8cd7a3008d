"""Ask other workers of the group over HTTP; every way in which that can fail is a `PeerError` with a few words.

Only addresses that the group's members gave are asked, redirects are not followed, answers are bounded in size and
time, and the token travels in a header only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from flows.brokers.base import Member
from flows.query.base import SIGNATURE

MOST_BYTES = 512 << 20
_MOST_JSON = 16 << 20
_CONNECT, _SILENCE, _WHOLE = 2.0, 3.0, 30.0
"""Seconds to connect, until the head of an answer is there, and for all of it: a large table is long in reading."""

_QUIET = 25.0
"""Seconds without a heartbeat, which comes every ten, after which a stream of changes is taken for dead."""

_AVOID, _AVOID_SLOW = 1.0, 5.0
"""Seconds for which a worker that did not answer, or not in time, is not asked again: one page does not wait twice."""


class PeerError(Exception):
    """A worker did not answer, or not as it should; the words follow its name."""


class Event(NamedTuple):
    """One server-sent event."""

    name: str
    data: bytes


class Peers:
    """Connections to the other workers, kept open. `plan` is this worker's: one with another means other tables."""

    def __init__(self, plan: str, token: str | None = None) -> None:
        self._plan, self._token = plan, token
        self._session: aiohttp.ClientSession | None = None
        self._avoided: dict[str, tuple[float, str]] = {}

    async def json(self, member: Member, path: str, parameters: Mapping[str, str], type: Any) -> Any:
        """Return a JSON answer as this type. Raises `PeerError`."""
        body = await self.body(member, path, parameters, most=_MOST_JSON)
        try:
            return msgspec.json.decode(body, type=type)
        except msgspec.DecodeError as error:
            raise PeerError(f"answers what is not understood: {error}") from None

    async def body(self, member: Member, path: str, parameters: Mapping[str, str], *, most: int = MOST_BYTES) -> bytes:
        """Return the body of an answer. Raises `PeerError`."""
        self._check(member)
        timeout = aiohttp.ClientTimeout(total=_WHOLE, sock_connect=_CONNECT)
        gathered = bytearray()
        try:
            async with asyncio.timeout(_SILENCE) as alarm, self._get(member, path, parameters, timeout) as response:
                alarm.reschedule(None)
                _expect_success(response, member)
                async for piece in response.content.iter_any():
                    gathered += piece
                    if len(gathered) > most:
                        raise PeerError(f"answers more than {most >> 20:,} MiB")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._silent(member, error) from None
        return bytes(gathered)

    async def events(self, member: Member, path: str, parameters: Mapping[str, str]) -> AsyncIterator[Event]:
        """Yield the events of a stream until it ends. Raises `PeerError`."""
        self._check(member)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=_QUIET)
        try:
            async with self._get(member, path, parameters, timeout) as response:
                _expect_success(response, member)
                waiting = b""
                async for piece in response.content.iter_any():
                    *whole, waiting = (waiting + piece).split(b"\n\n")
                    for event in filter(None, map(_parsed, whole)):
                        yield event
                    if len(waiting) > _MOST_JSON:
                        raise PeerError(f"sends an event of more than {_MOST_JSON >> 20} MiB")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._silent(member, error) from None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def _check(self, member: Member) -> None:
        if not member.address:
            raise PeerError("serves no page that could be asked (--web-port -1)")
        if member.plan != self._plan:
            raise PeerError("runs another version of the app")
        until, why = self._avoided.get(member.id, (0.0, ""))
        if monotonic() < until:
            raise PeerError(why)

    def _get(self, member: Member, path: str, parameters: Mapping[str, str], timeout: aiohttp.ClientTimeout) -> Any:
        if self._session is None:
            headers = {} if self._token is None else {"Authorization": f"Bearer {self._token}"}
            self._session = aiohttp.ClientSession(
                headers=headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(limit=0),
            )
        url = base_url(member.address) + path
        return self._session.get(url, params=parameters, timeout=timeout, allow_redirects=False)

    def _silent(self, member: Member, error: Exception) -> PeerError:
        slow = isinstance(error, TimeoutError)
        why = "does not answer in time" if slow else "does not answer"
        self._avoided[member.id] = (monotonic() + (_AVOID_SLOW if slow else _AVOID), why)
        return PeerError(why)


def base_url(address: str) -> str:
    """Return a member's address as the start of a URL. Raises `PeerError` for one that is no plain http(s) address."""
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = None
    if not usable or parts.username is not None or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise PeerError("gave an address that is none of a worker")
    return f"{parts.scheme}://{parts.netloc}"


def table_path(table: str, rest: str = "") -> str:
    """Return the path of a table's API."""
    return f"/api/tables/{quote(table, safe='')}{rest}"


def _expect_success(response: aiohttp.ClientResponse, member: Member) -> None:
    if response.status in (401, 403):
        raise PeerError("refuses this worker; the web token must be the same for all")
    if response.status != 200:
        raise PeerError(f"answers {response.status}")
    if response.headers.get(SIGNATURE) != member.id:
        raise PeerError("is not at its address; another answers there")


def _parsed(text: bytes) -> Event | None:
    name, data = "", b""
    for line in text.split(b"\n"):
        if line.startswith(b"event: "):
            name = line[7:].decode(errors="replace")
        elif line.startswith(b"data: "):
            data = line[6:]
    return Event(name, data) if name else None
