"""What the tasks of one member of a group write with: one transactional id, fenced by the member's generation.

A task's own transactional id would fence its last holder too, but then every task has transactions of its own: with
eight tasks, forty requests where these are five (KIP-447 went the same way). What makes one id for all as safe:

1. Each transaction has positions, sent with the member's id and generation (TxnOffsetCommit 3). Who has lost its place
   is refused, and the transaction with all that is in it never ends well.
2. A transaction whose positions were taken in time, but which has not ended, holds up who reads them to go on from
   there (`Broker.committed`, stable); one that has written records only, who restores from these (`Broker.end_offsets`,
   written).
3. Nobody waits long for a holder that died: each position says who holds it, from when it was taken, and that member's
   transactional id is taken over, which ends what it left open. Of a task that never committed yet nothing says so, and
   the coordinator ends it after `TRANSACTION_SECONDS` and the time between two looks of it (Kafka's
   `transaction.abort.timed.out.transaction.cleanup.interval.ms`, 10 s by default).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from flows.brokers.base import TopicPartition, Transaction
from flows.brokers.kafka import offsets
from flows.brokers.kafka.cluster import Cluster
from flows.brokers.kafka.group_commit import Ends, GroupCommit
from flows.brokers.kafka.limits import Limits
from flows.brokers.kafka.membership import KafkaMembership
from flows.brokers.kafka.producer import KafkaProducer
from flows.brokers.kafka.task_producer import TaskProducer
from flows.brokers.kafka.txn_wire import Standing
from flows.errors import Fenced, OutcomeUnknown

Open = Callable[[str, Callable[[], Standing]], Awaitable[KafkaProducer]]
"""Takes over a transactional id, for who stands in its group as the second argument tells."""


class MemberProducers:
    """Make the writers of a member's tasks; both kinds gather what is committed at the same time."""

    def __init__(self, cluster: Cluster, limits: Limits, membership: KafkaMembership, open_: Open) -> None:
        self.membership = membership
        self._cluster, self._limits, self._open = cluster, limits, open_
        self._group, self._instance = membership.seat.group, membership.seat.instance
        self._transactions = GroupCommit(self._commit, membership.check)
        self._positions = GroupCommit(self._commit_positions, membership.check)
        self._producer: KafkaProducer | None = None
        self._opening = asyncio.Lock()
        self._ending: dict[str, asyncio.Task[None]] = {}

    async def transactional(self, id_: str, inputs: Iterable[TopicPartition]) -> TaskProducer:
        """Make the producer of a task that this member was given, and end what its last holder left open."""
        inputs = list(inputs)
        await self._ready()
        await self._end_earlier(inputs)
        producer = TaskProducer(id_, self._limits, self._transactions)
        await self._claim(producer, inputs)
        return producer

    def positions(self, id_: str) -> TaskProducer:
        """Make the producer of a task that writes its positions only, outside of transactions."""
        return TaskProducer(id_, self._limits, self._positions)

    async def close(self) -> None:
        """End what is under way."""
        for ending in self._ending.values():
            ending.cancel()
        await asyncio.gather(self._transactions.close(), self._positions.close())
        if self._producer is not None:
            await self._producer.close()

    async def _ready(self) -> KafkaProducer:
        async with self._opening:
            if self._producer is None:
                self._producer = await self._open(self._name(self._instance), self.membership.standing)
            return self._producer

    async def _commit(self, transaction: Transaction) -> Ends:
        producer = await self._ready()
        try:
            return await producer.commit(transaction)
        except (Fenced, OutcomeUnknown):
            self._producer = None
            await producer.close()
            raise

    async def _commit_positions(self, transaction: Transaction) -> Ends:
        await offsets.commit(self._cluster, self._group, transaction.offsets, self.membership.standing)
        return {}

    async def _end_earlier(self, inputs: Iterable[TopicPartition]) -> None:
        """Take over the ids of members that held these inputs last and are no longer there."""
        found = await offsets.held(self._cluster, self._group, inputs, stable=False)
        for gone in {by for _, by in found.values()} - {"", self._instance} - await self.membership.live():
            ending = self._ending.get(gone)
            if ending is None:  # else another task of theirs is at it
                ending = self._ending[gone] = asyncio.create_task(self._end(gone))
            await asyncio.shield(ending)

    async def _claim(self, producer: TaskProducer, inputs: Iterable[TopicPartition]) -> None:
        """Write the positions that are there again, as this member's: should it die before it moves them."""
        found = await offsets.held(self._cluster, self._group, inputs, stable=True)
        others = {tp: at for tp, (at, by) in found.items() if by != self._instance}
        await producer.commit(Transaction(group=self._group, offsets=others))

    async def _end(self, gone: str) -> None:
        try:
            producer = await self._open(self._name(gone), Standing)
            await producer.close()
        finally:
            del self._ending[gone]

    def _name(self, instance: str) -> str:
        return f"{self._group}.member.{instance}"
