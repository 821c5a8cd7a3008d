"""What the broker's contract suite opens, sends and reads; `conftest` wraps it in fixtures."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from flows.brokers.base import Broker, Outgoing, Records, TopicPartition, TopicSpec
from flows.brokers.registry import open_broker

KINDS = ["embedded", pytest.param("kafka", marks=pytest.mark.kafka)]


class Handles:
    """Open brokers on one and the same storage, as several processes would."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._open: list[Broker] = []

    async def open(self, **options: Any) -> Broker:
        broker = open_broker(self.url, **options)
        await broker.start()
        self._open.append(broker)
        return broker

    async def close(self) -> None:
        for broker in self._open:
            await broker.close()


class Topics:
    """Create topics under names that no other test of a shared broker has.

    They keep their records for ever: Kafka counts retention by the records' own times, and these are of 1970.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def __call__(self, name: str = "topic", **settings: Any) -> str:
        unique = f"{name}-{uuid4().hex[:8]}"
        await self._broker.create_topic(TopicSpec(name=unique, **{"retention": None, **settings}))
        return unique


def outgoing(*numbers: int, key: bytes | None = b"k") -> Outgoing:
    """Records whose value is the number, and whose timestamp is 1000 more."""
    return Outgoing([key] * len(numbers), [b"%d" % n for n in numbers], [1000 + n for n in numbers])


async def read_all(broker: Broker, tp: TopicPartition, position: int | None = None) -> list[Records]:
    """Read to the end by positions, never by counting."""
    start = (await broker.start_offsets([tp]))[tp] if position is None else position
    end = (await broker.end_offsets([tp]))[tp]
    reader = broker.reader({tp: start})
    found: list[Records] = []
    while reader.position(tp) < end:
        found += await reader.fetch(1000, 1.0)
    await reader.close()
    return found


def values(found: list[Records]) -> list[bytes | None]:
    """The values of all batches in order."""
    return [value for records in found for value in records.values]
