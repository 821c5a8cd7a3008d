"""Topics of a cluster: made from a `TopicSpec`, held against one, listed, deleted. None is ever altered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from aiokafka.protocol.admin import CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest
from aiokafka.protocol.metadata import MetadataRequest

from flows.brokers.base import TopicPartition, TopicSpec
from flows.brokers.kafka.cluster import Cluster
from flows.brokers.kafka.faults import Code, Lost, Refused, TooOld, check
from flows.brokers.kafka.protocol import AlterTopicRequest
from flows.brokers.kafka.retry import PATIENCE, Tries, persist
from flows.brokers.kafka.topic_ids import TopicIdsRequest, ids_of
from flows.brokers.specs import check_alterable, compare
from flows.errors import BrokerError, UnknownTopic

COPIES = 3
_TOPIC, _BROKER = 2, 4
_TIMEOUT_MS = 10_000
_FOREVER = "-1"
_ANY_TIME = {f"message.timestamp.{side}.max.ms": str(2**63 - 1) for side in ("before", "after")}
"""Event times may lie anywhere: Kafka 4 refuses those more than an hour ahead unless told so. Unknown before 3.6."""

INTERNAL_ENDINGS = ("-changelog", "-repartition", "-dead-letters", "-late", "-members")
"""How the names of internal topics end: Kafka has no place to mark them."""


class Topics:
    """The topics of a cluster; those made here have `copies` replicas (None: three, or one on each broker)."""

    def __init__(self, cluster: Cluster, copies: int | None) -> None:
        self._cluster, self._copies = cluster, copies

    async def create(self, spec: TopicSpec) -> None:
        """Create the topic unless it exists; raises `TopicMismatch` when it exists with other settings."""
        if not spec.partitions >= 1:
            raise BrokerError(f"topic {spec.name!r}: {spec.partitions} partitions", fix="declare 1 or more")
        if spec.cleanup not in ("delete", "compact"):
            raise BrokerError(f"topic {spec.name!r}: cleanup {spec.cleanup!r}", fix="use 'delete' or 'compact'")
        wanted = _on_kafka(spec)

        async def once() -> None:
            existing = await self._find(spec.name)
            if existing is None and await self._make(wanted):
                await self._known_to_all(spec.name, wanted.partitions)
            elif existing is None:
                raise Refused(Code.LEADER_NOT_AVAILABLE)  # another made it just now; not all know of it yet
            else:
                compare(existing, wanted)

        await persist(f"cannot create topic {spec.name!r}", once, PATIENCE)

    async def listing(self) -> dict[str, TopicSpec]:
        """Return all topics by name but Kafka's own."""

        async def once() -> dict[str, TopicSpec]:
            response = await self._cluster.ask(MetadataRequest(None, allow_auto_topic_creation=False))
            found = {
                entry[1]: len(entry[3])
                for entry in response.topics
                if entry[0] in (Code.NONE, Code.LEADER_NOT_AVAILABLE) and not entry[2]
            }
            settings = await self._settings(found)
            return {name: _spec(name, count, settings.get(name, {})) for name, count in sorted(found.items())}

        return await persist("cannot list the topics", once)

    async def ids(self, names: Iterable[str]) -> dict[str, str]:
        """Return the ids of the topics that exist; none where a broker is too old to tell."""
        request = TopicIdsRequest(list(names))

        async def once() -> dict[str, str]:
            return ids_of(await self._cluster.ask(request))

        try:
            return await persist("cannot read the ids of topics", once)
        except TooOld:
            return {}

    async def alter_retention(self, name: str, seconds: float | None) -> None:
        """Keep a topic's records for so many seconds from now on; raises `UnknownTopic`, `BrokerError`."""

        async def once() -> None:
            check_alterable(name, await self._find(name))
            request = AlterTopicRequest(name, {"retention.ms": _milliseconds(seconds)})
            for error, text, *_ in (await self._to_controller(request)).responses:
                check(error, text)

        await persist(f"cannot alter topic {name!r}", once)

    async def delete(self, name: str) -> None:
        """Remove a topic with its records; unknown names raise `UnknownTopic`."""
        doing = f"cannot delete topic {name!r}"

        async def once() -> None:
            response = await self._to_controller(DeleteTopicsRequest([name], _TIMEOUT_MS))
            check(response.topic_error_codes[0][1])

        try:
            await persist(doing, once)
        finally:
            self._cluster.forget(name)
        await self._known_to_all(name, 0)

    async def limits(self, name: str) -> Mapping[str, str]:
        """Return the settings of a topic by Kafka's names; empty where this user may not read them."""
        return (await self._settings([name])).get(name, {})

    async def most_bytes(self) -> int | None:
        """Return what the brokers take of a batch unless a topic says otherwise; None where that is not told."""
        lost = Lost("no broker is known")
        for node in self._cluster.by_nearness():
            request = DescribeConfigsRequest([(_BROKER, str(node), ["message.max.bytes"])])
            try:
                response = await self._cluster.send(node, request)
            except Lost as error:
                lost = error
                continue
            found = [entry[1] for resource in response.resources if not resource[0] for entry in resource[4]]
            return int(found[0]) if found else None
        raise lost

    async def _find(self, name: str) -> TopicSpec | None:
        try:
            await self._cluster.refresh([name])
            topic = await self._cluster.topic(name)
        except Refused as error:
            if error.code == Code.UNKNOWN_TOPIC_OR_PARTITION:
                return None
            raise
        try:
            return _spec(name, len(topic.leaders), await self.limits(name))
        except Refused as error:
            if error.code == Code.UNKNOWN_TOPIC_OR_PARTITION:  # to this broker: the topic was made just now
                raise Refused(Code.LEADER_NOT_AVAILABLE) from error
            raise

    async def _make(self, spec: TopicSpec) -> bool:
        """Create a topic; False when another did so meanwhile."""
        copies = self._copies or min(COPIES, len(self._cluster.nodes))
        settings = {**_settings_of(spec), **_ANY_TIME}
        if spec.internal and copies >= COPIES:
            settings["min.insync.replicas"] = str(copies - 1)
        error, text = await self._request_creation(spec, copies, settings)
        if error == Code.INVALID_CONFIG:  # an older Kafka, which does not know how to refuse a time either
            error, text = await self._request_creation(
                spec, copies, {name: value for name, value in settings.items() if name not in _ANY_TIME}
            )
        if error == Code.TOPIC_ALREADY_EXISTS:
            return False
        if error in (Code.INVALID_REPLICATION_FACTOR, Code.POLICY_VIOLATION):
            raise BrokerError(
                f"cannot create topic {spec.name!r} with {copies} copies: {text}",
                fix="set kafka_replication, or start the missing brokers",
            )
        check(error, text)
        return True

    async def _request_creation(self, spec: TopicSpec, copies: int, settings: Mapping[str, str]) -> tuple[int, str]:
        topic: tuple[object, ...] = (spec.name, spec.partitions, copies, [], list(settings.items()))
        response = await self._to_controller(CreateTopicsRequest([topic], _TIMEOUT_MS, False))
        _, error, text = response.topic_errors[0]
        return error, text or ""

    async def _to_controller(self, request: Any) -> Any:
        try:
            if self._cluster.controller not in self._cluster.nodes:
                await self._cluster.refresh([])
            return await self._cluster.send(self._cluster.controller, request)
        except Lost:
            await self._cluster.refresh([])
            raise

    async def _known_to_all(self, name: str, partitions: int) -> None:
        """Wait until every broker that answers knows the topic's leaders, or, of 0 partitions, that it is gone."""
        for node in list(self._cluster.nodes):
            tries = Tries(f"cannot see topic {name!r}")
            while True:
                try:
                    response = await self._cluster.send(node, MetadataRequest([name], allow_auto_topic_creation=False))
                except Lost:
                    break
                error, _, _, found = response.topics[0][:4]
                if len([entry for entry in found if entry[2] >= 0]) == partitions:
                    break
                unknown = not error or error == Code.UNKNOWN_TOPIC_OR_PARTITION  # to this broker, for now
                await tries.again(Refused(Code.LEADER_NOT_AVAILABLE if unknown or not partitions else error))
        if partitions:
            await self._cluster.refresh([name])

    async def _settings(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        wanted = [(_TOPIC, name, None) for name in names]
        if not wanted:
            return {}
        response = await self._cluster.ask(DescribeConfigsRequest(wanted))
        for error, text, *_ in response.resources:
            if error not in (Code.NONE, Code.TOPIC_AUTHORIZATION_FAILED):
                raise Refused(error, text)
        return {resource[3]: {entry[0]: entry[1] for entry in resource[4]} for resource in response.resources}


async def partitions_exist(cluster: Cluster, tps: Iterable[TopicPartition]) -> None:
    """Raise `UnknownTopic` unless all these partitions exist."""
    for tp in tps:
        if not cluster.error(tp):
            continue

        async def once(tp: TopicPartition = tp) -> None:
            await cluster.topic(tp.topic)
            if cluster.error(tp):
                await cluster.refresh([tp.topic])
            check(cluster.error(tp))

        try:
            await persist(f"partition {tp}", once)
        except UnknownTopic:
            cluster.forget(tp.topic)
            raise


def _on_kafka(spec: TopicSpec) -> TopicSpec:
    """Keep internal topics for ever: Kafka counts retention from a record's own time, and drops old events at once.

    Repartition topics are purged as they are processed.
    """
    return msgspec.structs.replace(spec, retention=None) if spec.internal else spec


def _settings_of(spec: TopicSpec) -> dict[str, str]:
    settings = {"cleanup.policy": spec.cleanup, "message.timestamp.type": "CreateTime"}
    if spec.cleanup == "compact":
        settings["delete.retention.ms"] = _milliseconds(spec.tombstone_retention)
    else:
        settings["retention.ms"] = _milliseconds(spec.retention)
        if spec.retention is None:
            settings["retention.bytes"] = _FOREVER
    return settings


def _milliseconds(seconds: float | None) -> str:
    return _FOREVER if seconds is None else str(int(seconds * 1000))


def _spec(name: str, partitions: int, settings: Mapping[str, str]) -> TopicSpec:
    default = TopicSpec(name=name, partitions=partitions, internal=name.endswith(INTERNAL_ENDINGS))
    if not settings:
        return default
    keeps = int(settings["retention.ms"])
    return msgspec.structs.replace(
        default,
        cleanup=settings["cleanup.policy"],
        retention=None if keeps < 0 else keeps / 1000,
        tombstone_retention=int(settings["delete.retention.ms"]) / 1000,
    )
