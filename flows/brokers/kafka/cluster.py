"""The brokers of a cluster: connections to them, the leaders of partitions, the coordinators of groups and ids."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple

from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.metadata import MetadataRequest

from flows.brokers.base import TopicPartition
from flows.brokers.kafka import bootstrap
from flows.brokers.kafka.connection import Connection
from flows.brokers.kafka.faults import Code, Lost, TooOld, Unreachable, check
from flows.errors import BrokerError

GROUP, TRANSACTION = 0, 1
_METADATA_SECONDS = 5.0


class Topic(NamedTuple):
    """What the metadata say of a topic: an error code, or the leader of each partition (-1: none now)."""

    error: int
    leaders: dict[int, int]
    replicas: int
    internal: bool


class Cluster:
    """One view of a cluster, shared by all that a process does with it.

    Requests of one connection are answered in order, so each user whose requests may wait takes a `lane` of its own.
    """

    def __init__(self, connection: Connection, client_id: str) -> None:
        self.connection = connection
        self.nodes: dict[int, tuple[str, int]] = {}
        self.controller = -1
        self._options: dict[str, Any] = {"client_id": client_id}
        self._topics: dict[str, Topic] = {}
        self._links: dict[tuple[int, Hashable], AIOKafkaConnection] = {}
        self._opening: dict[tuple[int, Hashable], asyncio.Task[AIOKafkaConnection]] = {}
        self._coordinators: dict[tuple[int, str], int] = {}
        self._refreshing = asyncio.Lock()
        self._refreshed = 0.0
        self._turn = itertools.count()
        self._closed = False

    async def start(self) -> None:
        """Connect to a bootstrap server and to a broker it names; raises `BrokerUnavailable` or `BrokerError`."""
        self._options |= await asyncio.to_thread(self.connection.link_options)
        response = await bootstrap.first_metadata(self.connection, self._options)
        self._learn(response)
        await bootstrap.check_advertised(self.connection, self.nodes, self._link)

    async def close(self) -> None:
        """Close all connections; requests under way fail."""
        self._closed = True
        for opening in list(self._opening.values()):
            opening.cancel()
        closing = [link.close() for link in self._links.values()]
        self._links.clear()
        if closing:
            await asyncio.wait([asyncio.ensure_future(each) for each in closing], timeout=1.0)

    async def send(self, node: int, request: Any, lane: Hashable = "") -> Any:
        """Send a request to a broker and return its answer; raises `Lost`."""
        try:
            link = await self._link(node, lane)
        except Lost:
            self._doubt(node)
            raise
        try:
            return await link.send(request)
        except TimeoutError:
            link.close()
            self._doubt(node)
            raise Lost(f"broker {self._name(node)} did not answer in time") from None
        except (IncompatibleBrokerVersion, NotImplementedError) as error:
            raise TooOld(f"broker {self._name(node)} is too old: {error}", fix="use Kafka 2.5 or newer") from error
        except (KafkaError, OSError) as error:
            self._doubt(node)
            raise Lost(f"the connection to broker {self._name(node)} was lost") from error

    async def ask(self, request: Any) -> Any:
        """Send a request to any broker, the next one where one cannot be reached; raises `Lost`."""
        reasons = []
        for node in self.by_nearness():
            try:
                async with asyncio.timeout(_METADATA_SECONDS):
                    return await self.send(node, request)
            except Lost as lost:
                reasons.append(str(lost))
            except TimeoutError:
                self.drop(node)
                reasons.append(f"broker {self._name(node)} did not answer in time")
        raise Lost("; ".join(reasons) or "no broker is known")

    def by_nearness(self) -> list[int]:
        """Return all brokers in turns, those that a connection is open to first: one that hangs takes its time."""
        nodes = list(self.nodes)
        first = next(self._turn) % max(1, len(nodes))
        return sorted(nodes[first:] + nodes[:first], key=lambda node: not self._open((node, "")))

    async def refresh(self, topics: Iterable[str]) -> None:
        """Learn anew who leads these topics' partitions; calls at the same time share a request. Raises `Lost`."""
        wanted = set(topics)
        asked = asyncio.get_running_loop().time()
        async with self._refreshing:
            if self._refreshed > asked and wanted <= self._topics.keys():
                return
            began = asyncio.get_running_loop().time()
            names = sorted(wanted | {name for name, topic in self._topics.items() if not topic.error})
            try:
                response = await self.ask(MetadataRequest(names, allow_auto_topic_creation=False))
            except Lost:
                # All known brokers may have moved at once: the bootstrap servers know where to.
                response = await bootstrap.any_metadata(self.connection, self._options, names)
            self._learn(response)
            self._refreshed = began

    async def topic(self, name: str) -> Topic:
        """Return what is known of a topic, asking once if nothing is; raises `Lost` and `Refused`."""
        if name not in self._topics or self._topics[name].error:
            await self.refresh([name])
        found = self._topics[name]
        check(found.error)
        return found

    def leader(self, tp: TopicPartition) -> int | None:
        """Return the node that leads a partition, None where that is not known."""
        topic = self._topics.get(tp.topic)
        leader = None if topic is None else topic.leaders.get(tp.partition)
        return None if leader is None or leader < 0 else leader

    def error(self, tp: TopicPartition) -> int:
        """Return the error code that the metadata last gave for a partition's topic."""
        topic = self._topics.get(tp.topic)
        if topic is None:
            return Code.LEADER_NOT_AVAILABLE
        return topic.error or (0 if tp.partition in topic.leaders else Code.UNKNOWN_TOPIC_OR_PARTITION)

    def forget(self, topic: str) -> None:
        """Drop what is known of a topic."""
        self._topics.pop(topic, None)

    async def coordinator(self, kind: int, key: str) -> int:
        """Return the node that coordinates a group or transactional id; raises `Lost` and `Refused`."""
        node = self._coordinators.get((kind, key))
        if node is None:
            response = await self.ask(FindCoordinatorRequest(key, kind))
            check(response.error_code)
            node = response.coordinator_id
            self.nodes.setdefault(node, (response.host, response.port))
            self._coordinators[kind, key] = node
        return node

    def moved(self, kind: int, key: str) -> None:
        """Look for the coordinator anew at the next request."""
        self._coordinators.pop((kind, key), None)

    def drop(self, node: int, lane: Hashable = "") -> None:
        """Close a connection that is of no use any more."""
        link = self._links.pop((node, lane), None)
        if link is not None:
            link.close()

    def leave(self, lane: Hashable) -> None:
        """Close the connections of a lane that nobody uses any more."""
        for node, name in list(self._links):
            if name == lane:
                self.drop(node, lane)

    def _doubt(self, node: int) -> None:
        """Forget what a broker leads that is out of reach: who asks next learns who does now.

        One that hangs answers after longer than a caller has patience, who then never comes to ask for the leaders.
        """
        for topic in self._topics.values():
            topic.leaders.update((partition, -1) for partition, leader in topic.leaders.items() if leader == node)

    def _learn(self, response: Any) -> None:
        self.nodes = {node: (host, port) for node, host, port, _ in response.brokers}
        self.controller = response.controller_id
        for error, name, internal, partitions in (entry[:4] for entry in response.topics):
            leaders = {entry[1]: entry[2] for entry in partitions}
            replicas = min((len(entry[3]) for entry in partitions), default=0)
            self._topics[name] = Topic(error, leaders, replicas, internal)

    def _name(self, node: int) -> str:
        host, port = self.nodes.get(node, ("?", "?"))
        return f"{node} at {host}:{port}"

    def _open(self, key: tuple[int, Hashable]) -> bool:
        link = self._links.get(key)
        return link is not None and link.connected()

    async def _link(self, node: int, lane: Hashable = "") -> AIOKafkaConnection:
        key = (node, lane)
        if self._open(key):
            return self._links[key]
        if self._closed:
            raise BrokerError("the broker is closed", fix="open another one")
        opening = self._opening.get(key)
        if opening is None:
            opening = self._opening[key] = asyncio.create_task(self._connect(key))
            opening.add_done_callback(lambda done: self._opened(key, done))
        # A caller that is cancelled leaves the connection to the others that wait for it.
        return await asyncio.shield(opening)

    async def _connect(self, key: tuple[int, Hashable]) -> AIOKafkaConnection:
        node = key[0]
        if node not in self.nodes:
            raise Unreachable(f"broker {node} is not among the cluster's brokers")
        host, port = self.nodes[node]
        link = AIOKafkaConnection(host, port, max_idle_ms=540_000, **self._options)
        try:
            await link.connect()
        except (KafkaError, OSError, TimeoutError) as error:
            raise Unreachable(bootstrap.reason(f"{host}:{port}", error, self.connection)) from error
        self._links[key] = link
        return link

    def _opened(self, key: tuple[int, Hashable], done: asyncio.Task[AIOKafkaConnection]) -> None:
        self._opening.pop(key, None)
        if not done.cancelled():
            done.exception()  # told to those who wait; nobody may be left
