"""Bodies: too large, packed, deep, cut off, of another length than said; each is refused, and the next is answered."""

from __future__ import annotations

import gzip

import pytest

from flows.brokers.base import Broker
from tests.web.fortress import fortress, paths
from tests.web.rawly import Raw, head

POSTS = [path for _, path in paths("post") if path.startswith("/api/")]
KIB = 1024


async def answered(port: int, path: str, body: bytes, *lines: str) -> tuple[bytes, bytes]:
    """Send a request as it is; return the status and all of the answer."""
    async with Raw(port) as raw:
        await raw.send(head(path, *lines, "Connection: close") + body)
        answer = await raw.until_closed()
    return answer[9:12], answer


@pytest.mark.parametrize("path", POSTS)
async def test_a_body_past_the_limit_is_refused(broker: Broker, path: str) -> None:
    async with fortress(broker) as place:
        for size in (64 * KIB + 1, 1 << 20):
            status, _ = await answered(place.port, path, b"x" * size, f"Content-Length: {size}")
            assert status == b"413"
        # Nothing says how long it is: it is cut off as it comes.
        pieces = b"".join(b"%x\r\n%b\r\n" % (KIB, b"y" * KIB) for _ in range(200)) + b"0\r\n\r\n"
        status, _ = await answered(place.port, path, pieces, "Transfer-Encoding: chunked")
        assert status == b"413"
        async with place.client.get("/api/tables") as response:
            assert response.status == 200


@pytest.mark.parametrize("path", POSTS)
async def test_a_body_that_is_no_question_is_refused(broker: Broker, path: str) -> None:
    bodies = [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"sql"',
        b'{"sql":1}',
        b"\xff\xfe",
        b"\x00" * 100,
        b'{"unknown":1}',
        b"[" * 30_000,
        b'{"sql":' * 9_000,
        b'{"offsets":[' + b"1," * 20_000 + b"1]}",
        b'{"sql":"\\ud800"}',
        b"1" * 60_000,
        b"--x\r\nContent-Disposition: form-data\r\n\r\n",
    ]
    async with fortress(broker) as place:
        for body in bodies:
            status, answer = await answered(place.port, path, body, f"Content-Length: {len(body)}")
            assert status == b"400", (body[:40], answer[:300])
            assert b"Traceback" not in answer


@pytest.mark.parametrize("path", POSTS)
async def test_a_packed_body_is_not_unpacked(broker: Broker, path: str) -> None:
    """A bomb of some bytes stays some bytes."""
    bomb = gzip.compress(b'{"sql": "' + b" " * 50_000_000 + b'"}', 9)
    async with fortress(broker) as place:
        lines = (f"Content-Length: {len(bomb)}", "Content-Encoding: gzip")
        status, _ = await answered(place.port, path, bomb, *lines)
        assert status in (b"400", b"413")


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: -1",),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Content-Length: 0x5",),
        ("Content-Length: 99999999999999999999",),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding: chunked",),
    ],
)
async def test_a_length_that_is_none_is_refused(broker: Broker, path: str, lines: tuple[str, ...]) -> None:
    """Nor can what follows be taken for another request."""
    smuggled = b"GARBAGE\r\n\r\nGET /api/tables HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    async with fortress(broker) as place:
        status, answer = await answered(place.port, path, smuggled, *lines)
        assert status in (b"400", b"413", b"")
        assert b"late_streak" not in answer


async def test_a_get_may_have_a_body_that_nobody_reads(broker: Broker) -> None:
    async with fortress(broker) as place:
        status, answer = await answered(place.port, "/api/tables", b"x" * 500_000, "Content-Length: 500000")
        assert status in (b"200", b"405", b"400")
        assert b"Traceback" not in answer
