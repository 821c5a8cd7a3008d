"""The writers of a member's tasks: they share one producer, fenced by the member's place in the group."""

from __future__ import annotations

import asyncio

from flows.brokers.base import TopicPartition, Transaction
from flows.brokers.kafka.group_commit import Done, GroupCommit
from flows.brokers.kafka.limits import Limits
from flows.brokers.kafka.producer import copied
from flows.errors import BrokerError


class TaskProducer:
    """A `Producer` whose transactions leave with those of the member's other tasks.

    Any number of them may be there for a task: that only one commits follows from the group, which gives a task to
    another member once this one has released it or has lost its place. So `close` must come before `release`.
    """

    def __init__(self, id_: str, limits: Limits, commits: GroupCommit) -> None:
        self.id = id_
        self._limits, self._commits = limits, commits
        self._done: Done | None = None
        self.closed = False

    async def commit(self, transaction: Transaction) -> dict[TopicPartition, int]:
        """Apply all of the transaction or nothing; return the end offset of each written partition.

        The transaction must move or confirm a position of its task's: by the positions the group refuses a member that
        has lost its place. Raises as `KafkaProducer.commit` does; `Fenced` when the place is lost.
        """
        if self.closed:
            raise BrokerError(f"producer {self.id!r} is closed", fix="open another with broker.producer()")
        outputs = {tp: copied(out) for tp, out in transaction.outputs.items() if len(out)}
        if not outputs and not transaction.offsets:
            return {}
        if not transaction.offsets:
            raise BrokerError(f"a transaction of {self.id!r} has no positions: nobody could be kept from writing it")
        taken = Transaction(group=transaction.group, outputs=outputs, offsets=dict(transaction.offsets))
        await self._limits.check(outputs)
        self._done = self._commits.put(taken)
        return await asyncio.shield(self._done)

    async def close(self) -> None:
        """Return once nothing of the task is under way: what was not begun never will be."""
        self.closed = True
        if self._done is not None:
            await self._commits.settle(self._done)
