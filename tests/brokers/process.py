"""A process of its own that works on a broker's folder, for tests: `python -m tests.brokers.process WHAT FOLDER …`.

It answers on its standard output, one line for each thing it did.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

from flows.brokers.base import Committed, Outgoing, TopicPartition, TopicSpec, Transaction
from flows.brokers.embedded import EmbeddedBroker
from flows.errors import Fenced

A, B = TopicPartition("log", 0), TopicPartition("log", 1)
GROUP = "group"


async def create(broker: EmbeddedBroker) -> None:
    """Make the topic that the others use."""
    await broker.create_topic(TopicSpec(name="log", partitions=2))
    say("created")


async def count(broker: EmbeddedBroker) -> None:
    """Commit 0, 1, 2, … to both partitions from the committed position on, until killed."""
    producer = await broker.producer("counter")
    at = await broker.committed(GROUP, [A])
    number = at[A].offset if at else 0
    while True:
        pair = {tp: Outgoing([b"k"], [b"%d" % number], [0]) for tp in (A, B)}
        number += 1
        await producer.commit(Transaction(group=GROUP, outputs=pair, offsets={A: Committed(number)}))
        say(str(number))


async def hammer(broker: EmbeddedBroker, name: str, seconds: str, tasks: str, records: str) -> None:
    """Commit as fast as can be from some tasks for some time, so many records each; say how many commits it were."""
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    end, count = time.monotonic() + float(seconds), int(records)

    async def task(number: int) -> int:
        producer = await broker.producer(f"{name}-{number}")
        done = 0
        while time.monotonic() < end:
            value = f"{name}-{number}-{done}".encode()
            out = Outgoing([b"k"] * count, [value] * count, [0] * count)
            await producer.commit(Transaction(group=name, outputs={A: out}))
            done += 1
        return done

    say(str(sum(await asyncio.gather(*map(task, range(int(tasks)))))))


async def member(broker: EmbeddedBroker, name: str, *tasks: str) -> None:
    """Be a member of the group, and say what is assigned."""
    membership = await broker.join(GROUP, name, dict.fromkeys(tasks, ()))
    held: frozenset[str] = frozenset()
    try:
        while True:
            assigned = await membership.assignment()
            lost, held = held - assigned, assigned
            await membership.release(lost)
            say(" ".join(sorted(held)))
    except Fenced as error:
        say(f"fenced: {error}")


COMMANDS: dict[str, Callable[..., Awaitable[None]]] = {
    "create": create,
    "count": count,
    "hammer": hammer,
    "member": member,
}


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main(what: str, folder: str, lease: str, *arguments: str) -> None:
    broker = EmbeddedBroker(folder, lease=float(lease))
    await broker.start()
    try:
        await COMMANDS[what](broker, *arguments)
    finally:
        await broker.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
