"""The gateway: the topics that may be written to, what is on the way, and the writers that take it to the broker."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from aiohttp import web

from flows.brokers.base import Broker, TopicPartition, TopicSpec
from flows.clock import Clock
from flows.tracing import Tracer
from flows.web.gateway.base import LANES, Budget, Events, GatewayLimits, IngestTopic, Refused
from flows.web.gateway.book import Claim, Look
from flows.web.gateway.lane import Lane
from flows.web.gateway.metrics import GatewayMetrics
from flows.web.gateway.writers import PlainWriter, Session, Waiting

_DAY = 86_400.0


def keys_topic(app: str) -> str:
    """Name the topic that says which keys and sequences were written: made at the first one."""
    return f"{app}-gateway-keys"


class Connected(Protocol):
    """A client's socket."""

    def end(self, reason: Refused) -> None:
        """Write nothing more of it, and close it."""


class Gateway:
    """Takes events for the topics of an app; `topics` are those that may be written to, by name.

    What `submit` returns is done when the broker has the events: after its commit (embedded), or when all replicas in
    sync have them (Kafka).
    """

    def __init__(
        self,
        app: str,
        topics: Mapping[str, IngestTopic],
        broker: Broker,
        clock: Clock,
        limits: GatewayLimits | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.tracer = tracer
        self.app, self.topics, self.clock = app, topics, clock
        self.limits = limits or GatewayLimits()
        self.metrics = GatewayMetrics()
        self.budget = Budget(self.limits.buffer)
        self.sockets: set[Connected] = set()
        self.sessions: dict[bytes, Connected] = {}
        self.broker = broker
        self._plain = PlainWriter(broker, self.metrics, self.limits.linger)
        self._lanes = [self._lane(number) for number in range(LANES)]
        self._preparing = asyncio.Lock()
        self._prepared = False
        self.closing = False

    @property
    def known_keys(self) -> int:
        """How many keys and clients are remembered here."""
        return sum(len(lane.book) for lane in self._lanes)

    def submit(
        self, events: Events, claim: Claim | Look | None = None, session: Session | None = None
    ) -> asyncio.Future[bool]:
        """Write events, all or none; the result says whether what claims them had been written before.

        Raises `Refused` when the gateway stops.
        """
        if self.closing:
            raise Refused(503, "the gateway stops", retry_after=1)
        waiting = Waiting(events, claim, session)
        (self._plain if claim is None else self._lanes[claim.id[0] % LANES]).add(waiting)
        return waiting.done

    async def close(self) -> None:
        """Take nothing more, write what is on the way, end the sockets; the broker stays open."""
        self.closing = True
        await asyncio.gather(*(writer.close() for writer in (self._plain, *self._lanes)))
        for socket in self.sockets:
            socket.end(Refused(410, "the gateway stops"))

    def _lane(self, number: int) -> Lane:
        return Lane(
            self.broker,
            self.clock,
            f"{self.app}-gateway-{number}",
            TopicPartition(keys_topic(self.app), number),
            self.limits,
            max(1, self.limits.keys // LANES),
            self.metrics,
            self._prepare,
        )

    async def _prepare(self) -> None:
        """Make the topic of keys. It keeps them longer than anybody asks for; the lanes drop what is too old."""
        async with self._preparing:
            if self._prepared:
                return
            retention = max(_DAY, 2 * self.limits.key_retention)
            spec = TopicSpec(
                name=keys_topic(self.app),
                partitions=LANES,
                retention=retention,
                internal=True,
                any_retention=True,
            )
            await self.broker.create_topic(spec)
            self._prepared = True


GATEWAY = web.AppKey("gateway", Gateway)
