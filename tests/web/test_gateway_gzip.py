"""Packed bodies that unpack to more than there may be, that end too early, or that are packed otherwise."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator

import pytest

from flows.brokers.base import Broker
from tests.web.gates import Gate, rides_app

MOST = 1 << 20
PACKED = gzip.compress(b"{}", mtime=0)


@pytest.fixture
async def gate(broker: Broker) -> AsyncIterator[Gate]:
    async with Gate(broker, rides_app(), body=MOST) as gate:
        yield gate


@pytest.mark.parametrize("members", [1, 100])
async def test_a_bomb_is_refused_and_never_unpacked_whole(gate: Gate, members: int) -> None:
    bomb = gzip.compress(b" " * (128 * MOST // members), 9) * members
    assert len(bomb) < MOST
    tracemalloc.start()
    status, _ = await gate.post(bomb, "notes", Content_Encoding="gzip")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert status == 413
    assert peak < 32 * MOST
    assert gate.gateway.budget.used == 0


async def test_a_bomb_of_bombs_is_unpacked_once(gate: Gate) -> None:
    assert (await gate.post(gzip.compress(gzip.compress(b"{}", mtime=0)), "notes", Content_Encoding="gzip"))[0] == 422
    assert (await gate.post(gzip.compress(b"{}", mtime=0), "notes", Content_Encoding="gzip, gzip"))[0] == 415


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", PACKED[:-1], PACKED[:5], PACKED + b"{}", zlib.compress(b"{}"), PACKED[:-8] + b"\0" * 8],
)
async def test_what_is_no_gzip_is_refused(gate: Gate, body: bytes) -> None:
    assert (await gate.post(body, "notes", Content_Encoding="gzip"))[0] in (400, 422)
    assert await gate.written("notes") == []


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "compress", "gzip;q=1", "x" * 5000])
async def test_other_encodings_are_refused(gate: Gate, encoding: str) -> None:
    assert (await gate.post(b"{}", "notes", Content_Encoding=encoding))[0] == 415


async def test_a_socket_takes_no_packed_frames(gate: Gate) -> None:
    socket = await gate.connect(topic="notes", compress=15)
    assert socket.ws.compress == 0
    await socket.ws.close()
