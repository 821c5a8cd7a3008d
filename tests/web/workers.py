"""Workers of the harbour app, each a process of its own, on one embedded broker; and what they are fed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from aiohttp import ClientSession

from flows.brokers.base import Broker, Member, Outgoing, TopicPartition
from flows.brokers.registry import open_broker
from flows.compile.names import changelog, topic_specs
from flows.route.partitioner import Partitioner
from flows.state.keys import KeyCodec
from tests.web.contract import CONTRACT
from tests.web.harbour import app

Found = TypeVar("Found")

DEADLINE = 60.0
LEASE = 3.0
HOUR = 3600.0
PORTS = ("Oslo", "Bergen", "Turku", "Gdynia", "Riga", "Kiel", "Malmö")
_MODULE = Path(__file__).with_name("harbour.py")


async def until(ask: Callable[[], Awaitable[Found | None]], what: str) -> Found:
    """Ask until the answer is true, and return it."""
    try:
        async with asyncio.timeout(DEADLINE):
            while not (found := await ask()):  # noqa: ASYNC110 - other processes have no event to wait for
                # Asking without a pause would take the processor from those that are waited for.
                await asyncio.sleep(0.02)
            return found
    except TimeoutError:
        raise AssertionError(f"{what} did not come about in {DEADLINE} s") from None


class Harbour:
    """A data folder with its broker, the workers that run on it, and a client to ask them."""

    def __init__(self, folder: Path, lease: float = LEASE) -> None:
        self._lease = lease
        self.token: str | None = None
        self.folder = folder
        self.data = folder / "data"
        self.broker: Broker = open_broker(f"embedded://{self.data / 'broker'}")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    async def __aenter__(self) -> Harbour:
        """Make the topics."""
        self.data.mkdir()
        await self.broker.start()
        for spec in topic_specs(app.plan()):
            await self.broker.create_topic(spec)
        self.client = ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End all."""
        for process in self._processes.values():
            process.kill()
            process.wait()
        await self.client.close()
        await self.broker.close()

    async def start(self, *options: str, token: str | None = None) -> str:
        """Start a worker and return its address once it has joined."""
        environ = {**os.environ, **({} if token is None else {"FLOWS_WEB_TOKEN": token})}
        before = {member.address for member in await self.members()}
        more = ("--set", f"lease={self._lease}", "--web-port", "0", *options)
        command = [sys.executable, "-m", "flows", "worker", "-A", str(_MODULE), "--data", str(self.data), *more]
        with (self.folder / "worker.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: ASYNC220
                command, stdout=log, stderr=log, cwd=self.folder, env=environ
            )

        async def joined() -> str:
            assert process.poll() is None, (self.folder / "worker.log").read_text()
            return "".join({m.address for m in await self.members()} - before)

        address = await until(joined, "a worker that joins")
        self._processes[address] = process
        return address

    def kill(self, address: str) -> None:
        """Kill a worker as a power cut would."""
        process = self._processes.pop(address)
        process.kill()
        process.wait()

    def stop(self, address: str) -> None:
        """Stop a worker as a debugger would: it keeps its connections, and answers nothing."""
        self._processes[address].send_signal(signal.SIGSTOP)

    async def members(self) -> list[Member]:
        return await self.broker.group_members("harbour")

    async def send(self, arrivals: Iterable[dict[str, Any]]) -> None:
        """Append arrivals to the topic, by the partitioner that it is declared with."""
        partitioner = Partitioner(4)
        out: dict[TopicPartition, Outgoing] = {}
        for arrival in arrivals:
            key = str(arrival["ship"]).encode()
            found = out.setdefault(TopicPartition("arrivals", partitioner.of(key)), Outgoing())
            found.append(key, msgspec.json.encode(arrival), int(arrival["at"] * 1000))
        await self.broker.produce(out)

    async def log_visits(self, count: int) -> None:
        """Append that many rows to the changelog of `visits`, as workers of another day would have."""
        codec, value = KeyCodec((str,)), msgspec.msgpack.encode(1)
        for p in range(4):
            keys: list[bytes | None] = [codec.encode(f"old-{p}-{n}") for n in range(count // 4)]
            out = Outgoing(keys, [value] * len(keys), [0] * len(keys))
            await self.broker.produce({TopicPartition(changelog("harbour", "visits"), p): out})

    async def ask(self, address: str, path: str, sql: str | None = None, **parameters: str) -> Any:
        """Return a worker's answer; `token` is sent where it is set."""
        headers = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        body = None if sql is None else {"sql": sql}
        method = "GET" if sql is None else "POST"
        async with self.client.request(
            method, address + path, json=body, params=parameters, headers=headers
        ) as response:
            assert response.status == 200, await response.text()
            text = await response.read()
            CONTRACT.check(method, path, response.status, response.content_type, text)
            return msgspec.json.decode(text)

    async def until_shared(self) -> None:
        """Wait until two workers hold all tasks between them."""

        async def shared() -> bool:
            held = [len(m.tasks) for m in await self.members()]
            return len(held) == 2 and min(held) >= 2 and sum(held) == 8

        await until(shared, "two workers that share the tasks")

    async def until_all(self, addresses: Iterable[str], ships: int) -> None:
        """Wait until each worker tells of so many ships, and lacks nothing."""
        for address in addresses:

            async def complete(address: str = address) -> bool:
                told = [await self.ask(address, f"/api/tables/{t}", limit="9999") for t in ("by_ship", "by_port")]
                arrived = sum(row["ships"] for row in told[1]["rows"])
                return [len(told[0]["rows"]), arrived] == [ships, ships] and not any(t["missing"] for t in told)

            await until(complete, f"{ships} ships at {address}")


def arrival(number: int) -> dict[str, Any]:
    """The arrival of one ship."""
    hour = number % 3
    return {"ship": f"ship-{number:03}", "port": PORTS[number % 7], "tons": number, "at": 1_700_000_000 + hour * HOUR}
