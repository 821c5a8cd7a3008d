"""`make bench ARGS=--lookups`: point look-ups by key over HTTP, requests a second and what each waited.

A worker with a table of many keys, and a client on kept connections that asks for keys at random, each connection one
request after another. Both share this machine: the client, which parses nothing but the length of an answer, is a
process of its own and takes its part of the CPU. Beside the look-ups the worker is idle.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import aiohttp
import msgspec

from flows.brokers.base import Outgoing, TopicPartition
from flows.brokers.registry import open_broker
from flows.compile.names import topic_specs
from flows.route.partitioner import Partitioner
from tests.benchmarks.gateway import Child, free_port
from tests.benchmarks.lookups_app import app
from tests.benchmarks.processes import cpu_seconds

KEYS, CONNECTIONS, SECONDS = 100_000, 16, 10.0
_DEADLINE = 300.0
_COLUMN = {"declared": "user", "dictionary": "key"}


def run(seconds: float = SECONDS, keys: int = KEYS) -> list[dict[str, Any]]:
    """Return the figures of each table."""
    with tempfile.TemporaryDirectory(prefix="flows-bench-") as folder:
        return asyncio.run(_run(Path(folder), seconds, keys))


async def _run(folder: Path, seconds: float, keys: int) -> list[dict[str, Any]]:
    await _fill(folder / "data", keys)
    port = free_port()
    worker = Child(folder, "worker", "--web-port", str(port), "-l", "warning", module="tests.benchmarks.lookups_app")
    try:
        await _until_counted(port, keys)
        return [await _measure(worker, port, table, seconds, keys) for table in _COLUMN]
    finally:
        worker.kill()


async def _fill(data: Path, keys: int) -> None:
    broker = open_broker(f"embedded://{data / 'broker'}")
    await broker.start()
    for spec in topic_specs(app.plan()):
        await broker.create_topic(spec)
    partitioner, out = Partitioner(4), [Outgoing() for _ in range(4)]
    for number in range(keys):
        key = f"user-{number}".encode()
        value = msgspec.json.encode({"user": key.decode(), "amount": number / 2})
        out[partitioner.of(key)].append(key, value, 1_700_000_000_000)
    await broker.produce({TopicPartition("clicks", p): part for p, part in enumerate(out)})
    await broker.close()


async def _until_counted(port: int, keys: int) -> None:
    """Wait until the last of all events is in both tables."""
    async with asyncio.timeout(_DEADLINE), aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        while True:
            try:
                async with client.get("/api/status") as response:
                    status = await response.json()
                    if status["ready"] and status["records"] >= keys and status["lag"] == 0:
                        return
            except aiohttp.ClientError:
                pass  # it is not up yet
            await asyncio.sleep(0.1)


async def _measure(worker: Child, port: int, table: str, seconds: float, keys: int) -> dict[str, Any]:
    waits: list[float] = []
    cpu, begun = cpu_seconds(worker.pid), perf_counter()
    draw = random.Random(1)
    asking = (_ask(port, table, keys, begun + seconds, waits, draw) for _ in range(CONNECTIONS))
    await asyncio.gather(*asking)
    took, spent = perf_counter() - begun, cpu_seconds(worker.pid) - cpu
    waits.sort()
    found = {
        "workload": f"look-ups in {table}",
        "connections": CONNECTIONS,
        "keys": keys,
        "requests_per_second": round(len(waits) / took),
        "p50_ms": round(waits[len(waits) // 2] * 1000, 2),
        "p99_ms": round(waits[len(waits) * 99 // 100] * 1000, 2),
        "requests_per_cpu_second": round(len(waits) / spent),
    }
    print(
        f"{found['workload']:24} {found['requests_per_second']:>7,} requests/s on {CONNECTIONS} connections, "
        f"p50 {found['p50_ms']} ms, p99 {found['p99_ms']} ms; {found['requests_per_cpu_second']:,} per CPU second",
        flush=True,
    )
    return found


async def _ask(port: int, table: str, keys: int, until: float, waits: list[float], draw: random.Random) -> None:
    """Ask for one key after another, and see that each is there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (begun := perf_counter()) < until:
        name = f"user-{draw.randrange(keys)}"
        path = f"/api/tables/{table}/lookup?{_COLUMN[table]}={name}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        assert head.startswith(b"HTTP/1.1 200"), head
        assert f'"{name}"'.encode() in body, body
        waits.append(perf_counter() - begun)
    writer.close()
