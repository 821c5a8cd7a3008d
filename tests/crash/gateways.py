"""A `flows gateway` process that is killed and started again at the same port, and clients that do not give up."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession, WSMsgType

DEADLINE = 120.0
_PAUSE = 0.05
_MODULE = Path(__file__).with_name("counter.py")


class GatewayProcess:
    """The gateway of the app in `counter.py`."""

    def __init__(self, folder: Path, broker: str, topic: str, *options: str) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        more = ["--broker", broker, "--data", str(folder), "--port", str(self.port), *options]
        self._command = [sys.executable, "-m", "flows", "gateway", "-A", str(_MODULE), *more]
        self._environ = {**os.environ, "COUNTER_TOPIC": topic}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self._folder / "gateway.log").read_text()

    def start(self) -> None:
        with (self._folder / "gateway.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._environ)

    def kill(self) -> None:
        """Kill it as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Ask it to stop; return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(DEADLINE)


class Acknowledged:
    """What clients were told is there; lets a test wait for so many."""

    def __init__(self) -> None:
        self.events: list[int] = []
        self.refused: list[Any] = []
        self._news = asyncio.Event()

    def add(self, *events: int) -> None:
        self.events += events
        self._news.set()

    async def reach(self, count: int) -> None:
        async with asyncio.timeout(DEADLINE):
            while len(self.events) < count:
                self._news.clear()
                await self._news.wait()


async def post_each(address: str, topic: str, numbers: range, acked: Acknowledged) -> None:
    """Post each number under a key of its own, again and again until it is acknowledged."""
    async with ClientSession(address) as session:
        for number in numbers:
            while True:
                try:
                    async with session.post(
                        f"/topics/{topic}", json={"number": number}, headers={"Idempotency-Key": f"n{number}"}
                    ) as response:
                        if response.status == 200:
                            acked.add(number)
                            break
                        assert response.status in (429, 503), await response.text()
                except (ClientError, OSError):
                    pass
                await asyncio.sleep(_PAUSE)  # as a client would, before it tries again


async def pour_all(address: str, topic: str, name: str, numbers: range, acked: Acknowledged) -> None:
    """Send each number on a WebSocket under its place as sequence, and go on behind the last after each loss."""
    done = 0
    while done < len(numbers):
        try:
            async with ClientSession(address) as session, session.ws_connect(f"/topics/{topic}?client={name}") as ws:
                last = (await ws.receive_json())["last"]
                known = 0 if last is None else last + 1
                assert known >= done, f"{name}: {done} were acknowledged, but {known} are there"
                acked.add(*numbers[done:known])
                done = known

                async def send(ws: Any = ws, known: int = known) -> None:
                    for place in range(known, len(numbers)):
                        await ws.send_json({"seq": place, "value": {"number": numbers[place]}})

                sending = asyncio.create_task(send())
                try:
                    while done < len(numbers):
                        message = await ws.receive()
                        if message.type is not WSMsgType.TEXT:
                            break
                        told = message.json()
                        if "ack" in told:
                            acked.add(*numbers[done : told["ack"] + 1])
                            done = told["ack"] + 1
                finally:
                    sending.cancel()
                    await asyncio.gather(sending, return_exceptions=True)
        except (ClientError, OSError, TypeError):  # aiohttp: TypeError for a close frame where JSON was expected
            pass
        await asyncio.sleep(_PAUSE)
