"""The writer of a task that commits at least once: records at once, positions after them."""

from __future__ import annotations

from collections.abc import Mapping

from flows.brokers.base import Outgoing, TopicPartition, Transaction
from flows.brokers.kafka.limits import Limits
from flows.brokers.kafka.lines import Lines
from flows.brokers.kafka.producer import KafkaProducer, copied
from flows.brokers.kafka.task_producer import TaskProducer
from flows.errors import BrokerError


class KafkaAppender:
    """An `Appender`: records go by lines of its own, positions by a producer that a newer holder fences."""

    def __init__(self, limits: Limits, lines: Lines, producer: KafkaProducer | TaskProducer) -> None:
        self._limits, self._lines, self._producer = limits, lines, producer
        self.closed = False

    async def send(self, outputs: Mapping[TopicPartition, Outgoing]) -> dict[TopicPartition, int]:
        """Append records; return the end offset behind them, of each partition, once they are durable.

        Raises `RecordTooLarge` and `UnknownTopic` when nothing was sent; after `OutcomeUnknown` and `BrokerUnavailable`
        some may be there.
        """
        if self.closed:
            raise BrokerError(
                f"appender {self._producer.id!r} is closed", fix="take the id over with broker.appender()"
            )
        mine = {tp: copied(out) for tp, out in outputs.items() if len(out)}
        await self._limits.check(mine)
        return await self._lines.append(mine)

    async def commit(self, transaction: Transaction) -> dict[TopicPartition, int]:
        """Append the outputs, then, once all are durable, commit the positions."""
        ends = await self.send(transaction.outputs)
        await self._producer.commit(Transaction(group=transaction.group, offsets=transaction.offsets))
        return ends

    async def close(self) -> None:
        """Give back what it holds; what waits to be sent fails."""
        self.closed = True
        await self._lines.close()
        await self._producer.close()
