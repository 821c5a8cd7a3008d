"""Append from outside of any task, durably and atomically; many calls at a time share few requests."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from flows.brokers.base import Outgoing, TopicPartition, Transaction
from flows.brokers.kafka.batches import BATCH_BYTES
from flows.brokers.kafka.limits import Limits
from flows.brokers.kafka.lines import Lines
from flows.brokers.kafka.producer import KafkaProducer, copied
from flows.errors import BrokerError, BrokerUnavailable

_MOST_CALLS = 1000


class _Call(NamedTuple):
    outputs: dict[TopicPartition, Outgoing]
    done: asyncio.Future[dict[TopicPartition, int]]


class Publisher:
    """What `Broker.produce` does: a batch of one partition is atomic by itself, all else takes a transaction."""

    def __init__(self, limits: Limits, lines: Lines, take_over: Callable[[], Awaitable[KafkaProducer]]) -> None:
        self._limits, self._lines, self._take_over = limits, lines, take_over
        self._producer: KafkaProducer | None = None
        self._waiting: deque[_Call] = deque()
        self._working: asyncio.Task[None] | None = None

    async def produce(self, outputs: Mapping[TopicPartition, Outgoing]) -> dict[TopicPartition, int]:
        """Append records durably and atomically; return the end offsets.

        Raises `UnknownTopic`, `RecordTooLarge` and `BrokerUnavailable` when nothing was written, `OutcomeUnknown` when
        that cannot be told.
        """
        mine = {tp: copied(out) for tp, out in outputs.items() if len(out)}
        await self._limits.check(mine)
        if not mine:
            return {}
        if len(mine) == 1 and self._fits_one_batch(mine):
            return await self._lines.append(mine)
        call = _Call(mine, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await call.done

    async def close(self) -> None:
        """Stop; calls under way fail."""
        if self._working is not None:
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)
        _fail(self._waiting, BrokerError("cannot produce: the broker was closed"))
        self._waiting.clear()
        await self._lines.close()
        if self._producer is not None:
            await self._producer.close()

    def _fits_one_batch(self, outputs: Mapping[TopicPartition, Outgoing]) -> bool:
        ((tp, out),) = outputs.items()
        most = min(BATCH_BYTES, self._limits.batch_bytes(tp))
        if len(out) == 1:
            return True
        size = sum(len(v or b"") + len(k or b"") + 30 for k, v in zip(out.keys, out.values, strict=True))
        if out.headers is not None:
            size += sum(len(name) * 4 + len(value) + 10 for each in out.headers for name, value in each)
        return size + 100 < most

    async def _work(self) -> None:
        """Commit what waits, all that has come meanwhile in the next transaction."""
        while self._waiting:
            calls = [self._waiting.popleft() for _ in range(min(_MOST_CALLS, len(self._waiting)))]
            try:
                ends = await self._commit(calls)
            except Exception as error:  # noqa: BLE001 - those who wait are told, whatever it is
                _fail(calls, error)
                if not isinstance(error, BrokerUnavailable) and self._producer is not None:
                    producer, self._producer = self._producer, None
                    await producer.close()
            except asyncio.CancelledError:
                _fail(calls, BrokerError("cannot produce: the broker was closed"))
                raise
            else:
                for call in reversed(calls):
                    if not call.done.done():
                        call.done.set_result({tp: ends[tp] for tp in call.outputs})
                    for tp, out in call.outputs.items():
                        ends[tp] -= len(out)

    async def _commit(self, calls: list[_Call]) -> dict[TopicPartition, int]:
        if self._producer is None:
            self._producer = await self._take_over()
        merged: dict[TopicPartition, Outgoing] = {}
        for call in calls:
            for tp, out in call.outputs.items():
                merged.setdefault(tp, Outgoing()).extend(out)
        return await self._producer.commit(Transaction(group="", outputs=merged))


def _fail(calls: list[_Call] | deque[_Call], error: Exception) -> None:
    for call in calls:
        if not call.done.done():
            call.done.set_exception(error)
