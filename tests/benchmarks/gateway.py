"""`make bench ARGS=--gateway`: thousands of connections, a worker behind, and the gateway killed under load.

A gateway, a worker and the clients are a process each on this machine, the broker is the embedded one. First every
connection has a request on the way all the time: that is the most events a second, and the wait is that of a queue as
long as there are connections. Then events are due at a fixed pace, and the wait counts from when each was due; beside
them single events are followed into the worker's live table. Then the gateway is killed again and again, while clients
send each event until it is acknowledged: each must be in the topic exactly once.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import aiohttp
import msgspec

from flows.brokers.registry import open_broker
from tests.benchmarks.gateway_clients import Load, Poster, Pourer, connected
from tests.benchmarks.processes import cpu_seconds
from tests.kafka.jvm import ROOT, leash
from tests.web.gates import read_topic, values

CONNECTIONS, PACE, WINDOW, KILLS, PROBES = 5_000, 500, 4, 3, 40
_MODULE, _TICK, _DEADLINE = "tests.benchmarks.gateway_app", 0.005, 300.0


class Child:
    """A command of Flows in a process of its own."""

    def __init__(self, folder: Path, name: str, *options: str, module: str = _MODULE) -> None:
        self._log = folder / f"{name}.log"
        command = [sys.executable, "-m", "flows", name, "-A", module, "--data", str(folder / "data"), *options]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        self._leash = leash(self._process.pid)
        self.pid = self._process.pid

    @property
    def memory(self) -> int:
        """The bytes it has in memory."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        return int(text.partition("VmRSS:")[2].split()[0]) * 1024

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._leash.kill()
        self._leash.communicate()


class Run:
    """One run of all phases. `connections` and `seconds` are those of a phase."""

    def __init__(self, folder: Path, connections: int, seconds: float) -> None:
        self.folder, self.connections, self.seconds = folder, connections, seconds
        self.port, self.web = free_port(), free_port()
        self.first = 0
        self.figures: list[dict[str, Any]] = []

    async def __call__(self) -> list[dict[str, Any]]:
        """Return the figures of each phase."""
        worker = Child(self.folder, "worker", "--web-port", str(self.web), "-l", "warning", "--set", "gateway=false")
        self.gateway = self._start()
        try:
            await self._until_up(self.port)
            await self._until_up(self.web)
            await self._saturated(keyed=False)
            await self._saturated(keyed=True)
            await self._sockets()
            await self._paced()
            await self._killed()
        finally:
            self.gateway.kill()
            worker.kill()
        await self._check()
        return self.figures

    def _start(self) -> Child:
        return Child(self.folder, "gateway", "--port", str(self.port), "-l", "warning")

    async def _until_up(self, port: int) -> None:
        async with asyncio.timeout(_DEADLINE), aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            while True:
                with suppress(aiohttp.ClientError, OSError):
                    async with session.get("/health/ready") as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(0.1)

    def _load(self, *, keyed: bool) -> Load:
        return Load(self.port, keyed=keyed, first=self.first)

    @contextmanager
    def _measured(self, name: str, load: Load) -> Iterator[dict[str, Any]]:
        """Time what is done inside, and note the figures."""
        more: dict[str, Any] = {}
        began, cpu = perf_counter(), cpu_seconds(self.gateway.pid)
        yield more
        took, cpu = perf_counter() - began, cpu_seconds(self.gateway.pid) - cpu
        waits, count = sorted(load.waits), len(load.acked)
        self.first = next(load.numbers)
        found = {
            "workload": f"gateway, {name}",
            "connections": self.connections,
            "events": count,
            "events_per_second": round(count / took),
            "p50_ms": round(waits[len(waits) // 2] * 1000, 1),
            "p99_ms": round(waits[int(len(waits) * 0.99)] * 1000, 1),
            "cpu_us_per_event": round(cpu / count * 1e6, 1),
            "answers": {str(status): n for status, n in sorted(load.statuses.items())},
            "load": round(os.getloadavg()[0], 1),
            **more,
        }
        self.figures.append(found)
        print(_line(found), flush=True)

    async def _saturated(self, *, keyed: bool) -> None:
        load, before = self._load(keyed=keyed), self.gateway.memory
        posters = await connected(load, self.connections, lambda: Poster(load, closed_loop=True))
        with self._measured("one event a request" + (", keyed" if keyed else ""), load) as more:
            load.running = True
            for poster in posters:
                poster.post(perf_counter())  # type: ignore[attr-defined]
            await asyncio.sleep(self.seconds)
            load.running = False
            await self._until_answered(load)
            more["memory_per_connection_kb"] = round((self.gateway.memory - before) / self.connections / 1024, 1)
        _close(posters)

    async def _sockets(self) -> None:
        load, before = self._load(keyed=False), self.gateway.memory
        pourers = await connected(load, self.connections, lambda: Pourer(load, WINDOW))
        await asyncio.gather(*(pourer.ready for pourer in pourers))  # type: ignore[attr-defined]
        with self._measured(f"WebSockets, {WINDOW} messages on the way", load) as more:
            load.running = True
            for pourer in pourers:
                pourer.begin()  # type: ignore[attr-defined]
            await asyncio.sleep(self.seconds)
            load.running = False
            await self._until_answered(load)
            more["memory_per_connection_kb"] = round((self.gateway.memory - before) / self.connections / 1024, 1)
        _close(pourers)

    async def _paced(self) -> None:
        load, free = self._load(keyed=True), []
        posters = await connected(load, self.connections, lambda: Poster(load, closed_loop=False, idle=free.append))
        free += posters
        probes: list[float] = []
        with self._measured(f"{PACE} requests/s, keyed", load) as more:
            probing = asyncio.create_task(self._probe(probes))
            began, sent = perf_counter(), 0
            while sent < PACE * self.seconds:
                due = min(int(PACE * self.seconds), int((perf_counter() - began) * PACE))
                while sent < due and free:
                    free.pop(0).post(began + sent / PACE)
                    sent += 1
                await asyncio.sleep(_TICK)
            await self._until_answered(load)
            probing.cancel()
            with suppress(asyncio.CancelledError):
                await probing
            probes.sort()
            more["to_live_table_p50_ms"] = round(probes[len(probes) // 2] * 1000, 1)
            more["to_live_table_max_ms"] = round(probes[-1] * 1000, 1)
            more["probes"] = len(probes)
        _close(posters)

    async def _probe(self, took: list[float]) -> None:
        """Follow single events from before they are sent until the worker's table has their row."""
        async with aiohttp.ClientSession() as session:
            for number in range(PROBES):
                user, began = f"probe-{number}-{self.first}", perf_counter()
                event = {"number": -1, "user": user, "amount": 1.0}
                async with session.post(f"http://127.0.0.1:{self.port}/topics/clicks", json=event) as response:
                    assert response.status == 200
                url = f"http://127.0.0.1:{self.web}/api/tables/clicks_by_user/lookup"
                while True:
                    async with session.get(url, params={"user": user}) as response:
                        if (await response.json())["rows"]:
                            break
                    await asyncio.sleep(_TICK)
                took.append(perf_counter() - began)

    async def _killed(self) -> None:
        load = self._load(keyed=True)
        posters = await connected(load, self.connections, lambda: Poster(load, closed_loop=True))
        with self._measured("begun with a kill", load) as more:
            load.running = True
            for poster in posters:
                poster.post(perf_counter())  # type: ignore[attr-defined]
            for _ in range(KILLS):
                known = len(load.acked)
                async with asyncio.timeout(_DEADLINE):
                    while len(load.acked) < known + self.connections // 2:  # noqa: ASYNC110 - a poll in 5 s is nothing
                        await asyncio.sleep(_TICK)
                self.gateway.kill()
                self.gateway = self._start()
            load.running = False
            await self._until_answered(load)
            more.update(kills=KILLS, retries=load.retries, workload="gateway, killed under load, keyed")
            more["cpu_us_per_event"] = None
        _close(posters)
        self.keyed = load

    async def _until_answered(self, load: Load) -> None:
        async with asyncio.timeout(_DEADLINE):
            while len(load.acked) < len(load.sent):  # noqa: ASYNC110 - as above
                await asyncio.sleep(_TICK)

    async def _check(self) -> None:
        """Hold the topic to what was acknowledged."""
        broker = open_broker(f"embedded://{self.folder / 'data' / 'broker'}")
        await broker.start()
        numbers = [msgspec.json.decode(value)["number"] for value in values(await read_topic(broker, "clicks"))]
        await broker.close()
        found = Counter(number for number in numbers if number >= 0)
        wrong = {number: n for number, n in found.items() if n != 1}
        missing = set(self.keyed.acked).difference(found)
        assert not wrong, f"{len(wrong)} events are there more than once"
        assert not missing, f"{len(missing)} acknowledged events are not there"
        print(f"gateway        {len(found):,} events are there, each once", flush=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _close(clients: list[Any]) -> None:
    for client in clients:
        client.close()


def _line(found: dict[str, Any]) -> str:
    more = {
        k: found.get(k) for k in ("memory_per_connection_kb", "to_live_table_p50_ms", "to_live_table_max_ms", "retries")
    }
    told = ", ".join(f"{name} {value}" for name, value in more.items() if value is not None)
    return (
        f"{found['workload']}: {found['events_per_second']:,} events/s, acknowledged after p50 {found['p50_ms']} ms, "
        f"p99 {found['p99_ms']} ms; {found['cpu_us_per_event']} us of CPU an event; load {found['load']}; {told}"
    )


def run(connections: int, seconds: float) -> list[dict[str, Any]]:
    """Measure once."""
    with tempfile.TemporaryDirectory(prefix="flows-bench-") as folder:
        return asyncio.run(Run(Path(folder), connections, seconds)())
