"""Members of groups for tests: one in this process that follows its membership, and one in a process of its own.

`python -m tests.kafka.members URL LEASE GROUP MEMBER STATIC TOPIC TASK…` says what it is assigned, a line of JSON each.
With a topic, it appends to that too, outside of transactions, for as long as it may.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Self

from flows.brokers.base import Membership, Outgoing, TopicPartition
from flows.brokers.kafka.broker import KafkaBroker
from flows.brokers.registry import open_broker
from flows.errors import BrokerError

LONG = 45.0  # seconds; a test that waits this long has failed
TASKS = [f"part/{n}" for n in range(6)]

Held = frozenset[str]


class Worker:
    """Follow a membership as the engine does: hand back what is no longer assigned."""

    def __init__(self, membership: Membership) -> None:
        self.membership = membership
        self.held: Held = frozenset()
        self.error: BrokerError | None = None
        self.history: list[Held] = []
        self._changed = asyncio.Event()
        self._following = asyncio.create_task(self._follow())

    async def until(self, condition: Callable[[Self], Any]) -> None:
        """Wait until something holds for this worker."""
        async with asyncio.timeout(LONG):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

    async def has(self, count: int) -> Held:
        await self.until(lambda worker: len(worker.held) == count)
        return self.held

    async def leave(self) -> None:
        self._following.cancel()
        await self.membership.leave()

    async def _follow(self) -> None:
        try:
            while True:
                tasks = await self.membership.assignment()
                lost, self.held = self.held - tasks, tasks
                self.history.append(tasks)
                if lost:
                    await self.membership.release(lost)
                self._changed.set()
        except BrokerError as error:
            self.error = error
            self._changed.set()


class Handles:
    """Brokers on one cluster, closed at the end; each stands for a process."""

    def __init__(self, url: str, lease: float) -> None:
        self.url, self.lease = url, lease
        self._open: list[KafkaBroker] = []

    async def open(self, **options: Any) -> KafkaBroker:
        broker = open_broker(self.url, **{"lease": self.lease, **options})
        assert isinstance(broker, KafkaBroker)
        await broker.start()
        self._open.append(broker)
        return broker

    async def worker(self, group: str, member: str, *, static: bool = False, **joining: Any) -> Worker:
        """Join from a broker of its own."""
        broker = await self.open(kafka_instance_id=member if static else None)
        tasks = joining.pop("tasks", dict.fromkeys(TASKS, ()))
        return Worker(await broker.join(group, member, tasks, **joining))

    async def close(self) -> None:
        await asyncio.gather(*(broker.close() for broker in self._open))


@asynccontextmanager
async def handles(url: str, lease: float = 2.0) -> AsyncIterator[Handles]:
    """Open brokers for a test."""
    opened = Handles(url, lease)
    try:
        yield opened
    finally:
        await opened.close()


class Remote:
    """A member in a process of its own, which can be killed and suspended."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(
        cls, url: str, lease: float, group: str, member: str, *, static: bool = False, appending: str = ""
    ) -> Remote:
        arguments = [url, str(lease), group, member, "static" if static else "", appending, *TASKS]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.kafka.members", *arguments, stdout=asyncio.subprocess.PIPE
        )
        return cls(process)

    async def says(self, condition: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Wait for a line for which something holds, and return it."""
        assert self._process.stdout is not None
        async with asyncio.timeout(LONG):
            while line := await self._process.stdout.readline():
                said: dict[str, Any] = json.loads(line)
                if condition(said):
                    return said
        raise AssertionError("the member has ended")

    def signal(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


def holds(count: int) -> Callable[[Mapping[str, Any]], bool]:
    return lambda said: len(said.get("tasks", ())) == count


async def main(url: str, lease: str, group: str, member: str, static: str, topic: str, *tasks: str) -> None:
    """Be a member until killed, or until the place is lost."""
    async with handles(url, float(lease)) as opened:
        broker = await opened.open(kafka_instance_id=member if static else None)
        membership = await broker.join(group, member, dict.fromkeys(tasks, ()))
        appending = asyncio.create_task(append(broker, topic)) if topic else None
        held: Held = frozenset()
        try:
            while True:
                assigned = await membership.assignment()
                lost, held = held - assigned, assigned
                await membership.release(lost)
                say(tasks=sorted(held), generation=membership.generation)
        except BrokerError as error:
            listed = [m.id for m in await membership.members()]
            refused = "" if appending is None else type(await appending).__name__
            say(error=type(error).__name__, text=str(error), members=listed, refused=refused)


async def append(broker: KafkaBroker, topic: str) -> BrokerError:
    """Append numbers, one at a time, until the broker refuses."""
    appender = await broker.appender(f"{topic}-appender")
    try:
        for number in count():
            await appender.send({TopicPartition(topic, 0): Outgoing([b"k"], [b"%d" % number], [0])})
    except BrokerError as error:
        return error
    raise AssertionError("unreachable")


def say(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
