"""Send numbered batches to the partitions' leaders, in order, until all are stored or there is no hope."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Any

from aiokafka.protocol.produce import ProduceRequest

from flows.brokers.base import TopicPartition
from flows.brokers.kafka.batches import Sealed
from flows.brokers.kafka.cluster import Cluster
from flows.brokers.kafka.faults import STALE, Code, Lost, Refused, Unreachable
from flows.brokers.kafka.offsets import by_topic
from flows.brokers.kafka.retry import Tries

_ALL_IN_SYNC = -1
_TIMEOUT_MS = 8_000
_REQUEST_BYTES = 16 << 20
_MAYBE_STORED = frozenset({Code.REQUEST_TIMED_OUT, Code.NOT_ENOUGH_REPLICAS_AFTER_APPEND, Code.NETWORK_EXCEPTION})


Stored = tuple[TopicPartition, int, int]  # with an error code and the offset of the first record


Permit = Callable[[], Awaitable[None]]
"""What a sender waits for before each request; it raises where nothing may be sent any more."""


class Sender:
    """Send for one producer, on connections of its own."""

    def __init__(
        self, cluster: Cluster, lane: Hashable, transactional_id: str | None, permit: Permit | None = None
    ) -> None:
        self._cluster, self._lane, self._transactional_id = cluster, lane, transactional_id
        self._permit = permit
        self.doubtful = False
        """Whether some batch may have been stored without an answer, since this was last set to False."""

    async def send(self, batches: Mapping[TopicPartition, Sequence[Sealed]], tries: Tries) -> dict[TopicPartition, int]:
        """Store batches, one after the other in each partition; return the offset behind the last of each.

        Raises `BrokerError` when a batch is refused or time is up.
        """
        left = {tp: list(reversed(queue)) for tp, queue in batches.items()}
        ends: dict[TopicPartition, int] = {}
        while left:
            trouble: Lost | Refused | None = None
            requests: dict[int, dict[TopicPartition, Sealed]] = {}
            sizes: dict[int, int] = {}
            for tp, queue in left.items():
                leader = self._cluster.leader(tp)
                if leader is None:
                    trouble = Refused(self._cluster.error(tp) or Code.LEADER_NOT_AVAILABLE)
                elif sizes.get(leader, 0) < _REQUEST_BYTES:
                    requests.setdefault(leader, {})[tp] = queue[-1]
                    sizes[leader] = sizes.get(leader, 0) + len(queue[-1].data)
            answers = await asyncio.gather(
                *(self._request(node, mine) for node, mine in requests.items()), return_exceptions=True
            )
            for answer in answers:
                if isinstance(answer, Lost):
                    trouble = answer
                    self.doubtful |= not isinstance(answer, Unreachable)
                elif isinstance(answer, BaseException):
                    raise answer
                else:
                    for tp, error, offset in answer:
                        if error:
                            self.doubtful |= error in _MAYBE_STORED
                            trouble = _worse(trouble, Refused(error))
                        else:
                            ends[tp] = offset + left[tp].pop().records
                            if not left[tp]:
                                del left[tp]
            if trouble is not None:
                await tries.again(trouble)
                if isinstance(trouble, Lost) or trouble.code in STALE:
                    await self._find_leaders(left, tries)
        return ends

    async def _request(
        self, node: int, batches: Mapping[TopicPartition, Sealed]
    ) -> list[tuple[TopicPartition, int, int]]:
        topics = by_topic({tp: batch.data for tp, batch in batches.items()})
        if self._permit is not None:
            await self._permit()
        request = ProduceRequest(self._transactional_id, _ALL_IN_SYNC, _TIMEOUT_MS, topics)
        response: Any = await self._cluster.send(node, request, self._lane)
        return [
            (TopicPartition(topic, partition), error, offset)
            for topic, partitions in response.topics
            for partition, error, offset, *_ in partitions
        ]

    async def _find_leaders(self, tps: Mapping[TopicPartition, object], tries: Tries) -> None:
        while True:
            try:
                return await self._cluster.refresh({tp.topic for tp in tps})
            except Lost as lost:
                await tries.again(lost)


def _worse(one: Lost | Refused | None, other: Refused) -> Lost | Refused:
    """Return the error to act on: one that no retry mends goes first."""
    return one if isinstance(one, Refused) and not one.retriable else other
