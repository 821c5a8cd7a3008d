"""The gateway of an app: which of its topics it takes events for, with the broker and codecs that they need."""

from __future__ import annotations

import asyncio
import logging

from dsl.errors import nearest
from dsl.plan.graph import Plan
from dsl.plan.nodes import TopicNode, written_by
from flows.brokers.base import Broker
from flows.brokers.registry import open_broker
from flows.clock import Clock, SystemClock
from flows.compile.incoming import EventMaker, event_maker
from flows.compile.names import topic_specs
from flows.decode.codecs import Codecs
from flows.decode.opened import open_codecs
from flows.errors import UsageError
from flows.settings import Settings
from flows.tracing import Tracer, open_tracer
from flows.web.gateway import Gateway, GatewayLimits, GatewayServer

log = logging.getLogger("flows.gateway")


class Ingested:
    """Implements `IngestTopic`."""

    def __init__(self, events: EventMaker, codecs: Codecs) -> None:
        self.name, self.raw, self.make = events.name, events.raw, events.make
        self._codecs = codecs

    async def ready(self) -> None:
        """Register the schema of its values, once. Raises `FlowsError`."""
        await self._codecs.ready(self.name)


def ingested_topics(plan: Plan, chosen: str | None = None) -> list[TopicNode]:
    """Return the topics that may be written to from outside: declared ones that no step of the app writes to.

    Those that are `chosen`, by names with commas between, may be written to by the app too; internal ones never.
    Raises `UsageError`.
    """
    declared = {t.name: t for t in plan.of_type(TopicNode) if not t.internal}
    if chosen is None:
        written = {name for node in plan.nodes.values() for name in written_by(node)}
        return [topic for name, topic in declared.items() if name not in written]
    names = [name.strip() for name in chosen.split(",") if name.strip()]
    for name in names:
        if name not in declared:
            close = nearest(name, declared)
            fix = f"did you mean {close!r}?" if close else f"the app declares {', '.join(declared) or 'none'}"
            raise UsageError(f"gateway_topics: {name!r} is no declared topic", fix=fix)
    return [declared[name] for name in names]


def make_gateway(
    plan: Plan, broker: Broker, codecs: Codecs, clock: Clock, settings: Settings, tracer: Tracer | None = None
) -> Gateway | None:
    """Make the gateway of a worker; None where its settings say so. Raises `UsageError`."""
    return gateway_of(plan, broker, codecs, clock, settings, tracer) if settings.gateway else None


def gateway_of(
    plan: Plan, broker: Broker, codecs: Codecs, clock: Clock, settings: Settings, tracer: Tracer | None = None
) -> Gateway:
    """Make the gateway of an app. Raises `UsageError`."""
    topics = {
        t.name: Ingested(event_maker(plan, codecs, t.name, t.partitions, max_bytes=broker.max_record_bytes), codecs)
        for t in ingested_topics(plan, settings.gateway_topics)
    }
    limits = GatewayLimits(
        body=settings.gateway_body_bytes,
        rows=settings.gateway_rows,
        buffer=max(settings.gateway_buffer_bytes, 2 * settings.gateway_body_bytes),
        key_retention=settings.gateway_key_retention,
        keys=settings.gateway_keys,
    )
    return Gateway(plan.app, topics, broker, clock, limits, tracer)


class GatewayProcess:
    """A gateway without a worker. `shared` lets several processes listen at one port."""

    def __init__(self, plan: Plan, settings: Settings, *, shared: bool = False) -> None:
        self._plan, self._settings, self._shared = plan, settings, shared
        self._stopping = asyncio.Event()
        self.address = ""

    def stop(self) -> None:
        """Ask it to write what is on the way and leave."""
        self._stopping.set()

    async def run(self) -> None:
        """Take events until stopped.

        1. Connect to the broker; create or check the topics that may be written to.
        2. Listen, until asked to stop.
        3. Write what is on the way, close.

        Raises `FlowsError`.
        """
        plan, settings = self._plan, self._settings
        token = settings.read_web_token()
        tracer = open_tracer(plan.app) if settings.tracing else None
        # 1
        broker = open_broker(settings.broker_url, **settings.read_broker_options())
        codecs = open_codecs(plan, **settings.read_schema_registry_options())
        await broker.start()
        try:
            gateway = gateway_of(plan, broker, codecs, SystemClock(), settings, tracer)
            for spec in topic_specs(plan):
                if spec.name in gateway.topics:
                    await broker.create_topic(spec)
            # 2
            server = GatewayServer(
                gateway,
                settings.gateway_host,
                settings.gateway_port,
                token=token,
                advertised=settings.web_advertised_host,
                shared=self._shared,
            )
            self.address = await server.start()
            log.info("the gateway is at %s, for %s", self.address, ", ".join(sorted(gateway.topics)) or "no topic")
            try:
                await self._stopping.wait()
            finally:
                # 3
                await server.stop()
        finally:
            await codecs.close()
            await broker.close()
            if tracer is not None:
                await asyncio.to_thread(tracer.close)
