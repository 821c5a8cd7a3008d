"""Sends the events of a chaos run at a steady pace, each once and in order, with an idempotent producer of its own."""

from __future__ import annotations

import asyncio
import itertools
from functools import partial

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner

from tests.kafka.chaos.events import Events, encode
from tests.kafka.chaos.flow import events as topic
from tests.kafka.chaos.watch import Pace
from tests.kafka.chaos.workers import Failed

_TICK = 0.05
_BACKLOG = 30_000
"""Events that may wait: where the machine is slower than the pace, a run takes longer instead of falling behind."""


class Feed:
    """The events' way into the topic; `partition_of` tells where each range went."""

    def __init__(self, bootstrap: str, events: Events, rate: float, pace: Pace) -> None:
        self.partition_of: dict[str, int] = {}
        self._bootstrap, self._events, self._rate, self._pace = bootstrap, events, rate, pace
        self._under_way: set[asyncio.Future[object]] = set()
        self._failure: BaseException | None = None

    async def run(self) -> None:
        """Send until the events have ended and all are acknowledged; raises what a send met."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            enable_idempotence=True,
            acks="all",
            linger_ms=5,
            metadata_max_age_ms=2_000,
            request_timeout_ms=90_000,
        )
        await producer.start()
        try:
            source = iter(self._events)
            while batch := list(itertools.islice(source, max(round(self._rate * _TICK), 1))):
                for event in batch:
                    key = event.range.encode()
                    place = DefaultPartitioner()(key, list(range(topic.node.partitions)), [])
                    self.partition_of[event.range] = place
                    sent = await producer.send(topic.name, encode(event), key=key, partition=place)
                    self._under_way.add(sent)
                    sent.add_done_callback(partial(self._sent, place))
                if self._failure:
                    raise self._failure
                await asyncio.sleep(_TICK)
                await self._pace.until(lambda: self._pace.sent - self._pace.processed < _BACKLOG)
            await asyncio.gather(*self._under_way)
        finally:
            await producer.stop()

    def _sent(self, place: int, sent: asyncio.Future[object]) -> None:
        self._under_way.discard(sent)
        if sent.cancelled() or sent.exception() is not None:
            self._failure = Failed(f"an event was not sent: {'cancelled' if sent.cancelled() else sent.exception()!r}")
        else:
            self._pace.acknowledged(place)
