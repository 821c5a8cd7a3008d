"""Where partitions start and end, where groups are in them, and where old records are dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from aiokafka.protocol.admin import DeleteGroupsRequest, DeleteRecordsRequest
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.offset import OffsetRequest

from flows.brokers.base import Committed, TopicPartition
from flows.brokers.kafka.cluster import GROUP, Cluster
from flows.brokers.kafka.faults import MOVED, Code, Lost, Refused, check
from flows.brokers.kafka.protocol import GroupOffsetsRequest
from flows.brokers.kafka.retry import Tries, persist
from flows.brokers.kafka.topics import partitions_exist
from flows.brokers.kafka.txn_wire import Standing
from flows.errors import BrokerError

T = TypeVar("T")

EARLIEST, LATEST = -2, -1
READ_UNCOMMITTED, READ_COMMITTED = 0, 1
_TIMEOUT_MS = 10_000
_DEFAULT_RETENTION = -1
_WRITTEN_BY = "\n"
"""Stands between a position's metadata and the member that wrote it."""


def by_topic(entries: Mapping[TopicPartition, T]) -> list[tuple[str, list[tuple[int, T]]]]:
    """Arrange what belongs to partitions as Kafka's requests have it.

    >>> by_topic({TopicPartition("a", 0): 5, TopicPartition("a", 1): 7})
    [('a', [(0, 5), (1, 7)])]
    """
    found: dict[str, list[tuple[int, T]]] = {}
    for tp, entry in entries.items():
        found.setdefault(tp.topic, []).append((tp.partition, entry))
    return list(found.items())


async def list_offsets(
    cluster: Cluster, tps: Iterable[TopicPartition], when: int, isolation: int = READ_COMMITTED
) -> dict[TopicPartition, int]:
    """Return the first or last position of each partition; the last is the end of what is committed, or is written.

    Raises `UnknownTopic`, `BrokerUnavailable`.
    """

    def request(entries: Mapping[TopicPartition, int]) -> Any:
        return OffsetRequest(-1, isolation, by_topic(entries))

    def read(response: Any) -> Iterable[tuple[TopicPartition, int, int]]:
        for topic, partitions in response.topics:
            for partition, error, _, offset in partitions:
                yield TopicPartition(topic, partition), error, offset

    return await _ask_leaders(cluster, "cannot tell the offsets of", dict.fromkeys(tps, when), request, read)


async def purge(cluster: Cluster, before: Mapping[TopicPartition, int]) -> None:
    """Drop records below these offsets."""
    starts = await list_offsets(cluster, before, EARLIEST)

    def request(entries: Mapping[TopicPartition, int]) -> Any:
        return DeleteRecordsRequest(by_topic(entries), _TIMEOUT_MS)

    def read(response: Any) -> Iterable[tuple[TopicPartition, int, int]]:
        for topic, partitions, *_ in response.topics:
            for partition, low, error, *_ in partitions:
                # A new leader may know only a little later that what is committed is in sync.
                late = error == Code.OFFSET_OUT_OF_RANGE
                yield TopicPartition(topic, partition), Code.OFFSET_NOT_AVAILABLE if late else error, low

    wanted = {tp: offset for tp, offset in before.items() if offset > starts[tp]}
    await _ask_leaders(cluster, "cannot drop old records of", wanted, request, read)


async def _ask_leaders(
    cluster: Cluster, doing: str, entries: Mapping[TopicPartition, int], request: Any, read: Any
) -> dict[TopicPartition, int]:
    """Send each leader the request for its partitions, those that were refused again, until all are answered."""
    left, found = dict(entries), dict[TopicPartition, int]()
    if not left:
        return found
    await partitions_exist(cluster, left)
    tries = Tries(f"{doing} {', '.join(map(str, sorted(left)[:3]))}{' …' if len(left) > 3 else ''}")
    while True:
        trouble: Lost | Refused | None = None
        by_node: dict[int, dict[TopicPartition, int]] = {}
        for tp, entry in left.items():
            leader = cluster.leader(tp)
            if leader is None:
                trouble = Refused(cluster.error(tp) or Code.LEADER_NOT_AVAILABLE)
            else:
                by_node.setdefault(leader, {})[tp] = entry
        answers = await asyncio.gather(
            *(cluster.send(node, request(mine), "admin") for node, mine in by_node.items()), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, Lost):
                trouble = answer
            elif isinstance(answer, BaseException):
                raise answer
            else:
                for tp, error, offset in read(answer):
                    if error:
                        trouble = Refused(error)
                    else:
                        found[tp] = offset
                        left.pop(tp, None)
        if trouble is None:
            return found
        await tries.again(trouble)
        await persist("cannot find the partitions' leaders", lambda: cluster.refresh({tp.topic for tp in left}))


async def committed(
    cluster: Cluster, group: str, tps: Iterable[TopicPartition], stable: bool
) -> dict[TopicPartition, Committed]:
    """Return the group's positions, those after the transactions that are under way if `stable`, else before them."""
    return {tp: at for tp, (at, _) in (await held(cluster, group, tps, stable)).items()}


async def held(
    cluster: Cluster, group: str, tps: Iterable[TopicPartition], stable: bool
) -> dict[TopicPartition, tuple[Committed, str]]:
    """Return the group's positions as `committed` does, each with the member that wrote it, if one did."""
    found = {}
    for tp, at in (await _read(cluster, group, tps, stable)).items():
        metadata, _, writer = at.metadata.partition(_WRITTEN_BY)
        found[tp] = Committed(at.offset, metadata), writer
    return found


def wire(
    offsets: Mapping[TopicPartition, Committed], standing: Standing
) -> list[tuple[str, list[tuple[int, int, str]]]]:
    """Arrange positions as Kafka's requests have them, each with who writes it where that is a member."""
    by = _WRITTEN_BY + standing.instance if standing.instance else ""
    return [
        (topic, [(partition, committed.offset, committed.metadata + by) for partition, committed in parts])
        for topic, parts in by_topic(offsets)
    ]


async def commit(
    cluster: Cluster, group: str, offsets: Mapping[TopicPartition, Committed], standing: Callable[[], Standing]
) -> None:
    """Write positions outside of transactions; raises `Fenced` where the member has lost its place."""

    def request() -> OffsetCommitRequest:
        now = standing()
        topics = wire(offsets, Standing())
        return OffsetCommitRequest(group, now.generation, now.member_id, _DEFAULT_RETENTION, topics)

    await _ask_coordinator(cluster, f"cannot commit positions of group {group!r}", group, request, codes, "positions")


def codes(response: Any) -> None:
    """Raise the worst error of a response that has one for each partition."""
    parts = response.errors if hasattr(response, "errors") else response.topics
    found = [code for _, partitions, *_ in parts for _, code, *_ in partitions if code]
    for error in sorted(map(Refused, found), key=lambda refused: (refused.retriable, refused.code)):
        raise error


async def _read(
    cluster: Cluster, group: str, tps: Iterable[TopicPartition], stable: bool
) -> dict[TopicPartition, Committed]:
    topics: dict[str, list[int]] = {}
    for tp in tps:
        topics.setdefault(tp.topic, []).append(tp.partition)
    if not topics:
        return {}

    def read(response: Any) -> dict[TopicPartition, Committed]:
        check(response.error_code)
        found = {}
        for topic, partitions, _ in response.topics:
            for partition, offset, _, metadata, error, _ in partitions:
                if error != Code.UNKNOWN_TOPIC_OR_PARTITION:
                    check(error)
                if offset >= 0:
                    found[TopicPartition(topic, partition)] = Committed(offset, metadata or "")
        return found

    doing = f"cannot read the positions of group {group!r}"
    found: dict[TopicPartition, Committed] = await _ask_coordinator(
        cluster, doing, group, lambda: GroupOffsetsRequest(group, topics, stable), read
    )
    return found


async def delete_offsets(cluster: Cluster, group: str) -> None:
    """Forget all positions of a group; raises `BrokerError` while it has members."""

    def read(response: Any) -> None:
        error = response.results[0][1]
        if error == Code.NON_EMPTY_GROUP:
            raise BrokerError(f"group {group!r} has members: its positions are in use", fix="stop its workers first")
        if error != Code.GROUP_ID_NOT_FOUND:
            check(error)

    doing = f"cannot delete the positions of group {group!r}"
    await _ask_coordinator(cluster, doing, group, lambda: DeleteGroupsRequest([group]), read)


async def _ask_coordinator(
    cluster: Cluster, doing: str, group: str, request: Callable[[], Any], read: Any, lane: str = "admin"
) -> Any:
    async def once() -> Any:
        try:
            return read(await cluster.send(await cluster.coordinator(GROUP, group), request(), lane))
        except (Lost, Refused) as error:
            if isinstance(error, Lost) or error.code in MOVED:
                cluster.moved(GROUP, group)
            raise

    return await persist(doing, once)
