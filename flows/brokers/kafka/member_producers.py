"""What the tasks of one member of a group write with: two transactional ids, fenced by the member's generation.

A task's own transactional id would fence its last holder too, but then every task has transactions of its own: with
eight tasks, forty requests where these are five (KIP-447 went the same way). Two, in turns, since an id is of no use
until the coordinator has written the markers of its last transaction. What makes these as safe for all tasks:

1. Each transaction has positions, sent with the member's id and generation (TxnOffsetCommit 3). Who has lost its place
   is refused, and the transaction with all that is in it never ends well.
2. A transaction whose positions were taken in time, but which has not ended, holds up who reads them to go on from
   there (`Broker.committed`, stable); one that has written records only, who restores from these (`Broker.end_offsets`,
   written).
3. Nobody waits long for a holder that died: each position says who holds it, from when it was taken, and that member's
   transactional ids are taken over, which ends what it left open. Of a task that never committed yet nothing says so,
   and the coordinator ends it after `TRANSACTION_SECONDS` and the time between two looks of it (Kafka's
   `transaction.abort.timed.out.transaction.cleanup.interval.ms`, 10 s by default).
"""

from __future__ import annotations

import asyncio
from collections import deque
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

AT_ONCE = 2
"""Transactions of one member that may be under way at the same time."""

Open = Callable[[str, Callable[[], Standing]], Awaitable[KafkaProducer]]
"""Takes over a transactional id, for who stands in its group as the second argument tells."""


class MemberProducers:
    """Make the writers of a member's tasks; both kinds gather what is committed at the same time."""

    def __init__(self, cluster: Cluster, limits: Limits, membership: KafkaMembership, open_: Open) -> None:
        self.membership = membership
        self._cluster, self._limits, self._open = cluster, limits, open_
        self._group, self._instance = membership.seat.group, membership.seat.instance
        self._transactions = GroupCommit(self._commit, membership.check, at_once=AT_ONCE)
        self._positions = GroupCommit(self._commit_positions, membership.check)
        self._producers: dict[int, KafkaProducer] = {}
        self._free = deque(range(AT_ONCE))
        self._opening = [asyncio.Lock() for _ in range(AT_ONCE)]
        self._ending: dict[str, asyncio.Task[None]] = {}

    async def transactional(self, id_: str, inputs: Iterable[TopicPartition]) -> TaskProducer:
        """Make the producer of a task that this member was given, and end what its last holder left open."""
        inputs = list(inputs)
        await asyncio.gather(*map(self._ready, range(AT_ONCE)))
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
        await asyncio.gather(*(producer.close() for producer in self._producers.values()))

    async def _ready(self, number: int) -> KafkaProducer:
        """Return a producer; where its last commit failed, its id is taken over, so that nothing of it is in doubt."""
        async with self._opening[number]:
            if number not in self._producers:
                self._producers[number] = await self._open(self._name(self._instance, number), self.membership.standing)
            return self._producers[number]

    async def _commit(self, transaction: Transaction) -> Ends:
        number = self._free.popleft()  # the one whose markers have had the most time to be written
        try:
            producer = await self._ready(number)
            try:
                return await producer.commit(transaction)
            except Exception:
                # What it wrote would hold up who reads the tasks' positions, until this id's next transaction.
                del self._producers[number]
                await producer.close()
                raise
        finally:
            self._free.append(number)

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
            names = [self._name(gone, number) for number in range(AT_ONCE)]
            producers = await asyncio.gather(*(self._open(name, Standing) for name in names))
            await asyncio.gather(*(producer.close() for producer in producers))
        finally:
            del self._ending[gone]

    def _name(self, instance: str, number: int) -> str:
        return f"{self._group}.member.{number}.{instance}"
