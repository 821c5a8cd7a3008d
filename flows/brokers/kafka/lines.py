"""Append without transactions: one line of records to each partition, in order, each stored once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable, Mapping
from typing import NamedTuple

from flows.brokers.base import Outgoing, TopicPartition
from flows.brokers.kafka.batches import BATCH_BYTES, Numbering, build
from flows.brokers.kafka.cluster import Cluster
from flows.brokers.kafka.faults import check
from flows.brokers.kafka.limits import Limits
from flows.brokers.kafka.protocol import InitProducerIdRequest
from flows.brokers.kafka.retry import Tries, persist
from flows.brokers.kafka.sender import Permit, Sender
from flows.errors import BrokerError, BrokerUnavailable, OutcomeUnknown

_NO_TIMEOUT = 2**31 - 1


class _Waiting(NamedTuple):
    out: Outgoing
    done: asyncio.Future[int]


class Lines:
    """The lines of one writer. What waits while a request is under way leaves in the next, together."""

    def __init__(self, cluster: Cluster, limits: Limits, lane: Hashable, permit: Permit | None = None) -> None:
        self._cluster, self._limits, self._lane, self._permit = cluster, limits, lane, permit
        self._lines: dict[TopicPartition, _Line] = {}

    async def append(self, outputs: Mapping[TopicPartition, Outgoing]) -> dict[TopicPartition, int]:
        """Append records; return the offset behind them once they are durable.

        The outputs were checked by `Limits`. Raises `OutcomeUnknown` and `BrokerUnavailable`: some may be there.
        """
        waits = {tp: self._line(tp).put(out) for tp, out in outputs.items()}
        results = await asyncio.gather(*waits.values(), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return dict(zip(waits, results, strict=True))  # type: ignore[arg-type]

    async def close(self) -> None:
        """End all lines; what waits fails."""
        await asyncio.gather(*(line.close() for line in self._lines.values()))
        self._lines.clear()
        self._cluster.leave(self._lane)

    def _line(self, tp: TopicPartition) -> _Line:
        line = self._lines.get(tp)
        if line is None:
            line = self._lines[tp] = _Line(
                tp, self._limits, Sender(self._cluster, self._lane, None, self._permit), self._cluster
            )
        return line


class _Line:
    """The records of one partition; its batches are numbered, so that one sent twice is stored once."""

    def __init__(self, tp: TopicPartition, limits: Limits, sender: Sender, cluster: Cluster) -> None:
        self._tp, self._limits, self._sender, self._cluster = tp, limits, sender, cluster
        self._numbering: Numbering | None = None
        self._waiting: deque[_Waiting] = deque()
        self._sending: asyncio.Task[None] | None = None

    def put(self, out: Outgoing) -> asyncio.Future[int]:
        """Add records to the line."""
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(out, done))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_all())
        return done

    async def close(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        self._fail(list(self._waiting), BrokerError(f"cannot append to {self._tp}: the broker was closed"))
        self._waiting.clear()

    async def _send_all(self) -> None:
        while self._waiting:
            taken = self._take()
            try:
                end = await self._send(taken)
            except Exception as error:  # noqa: BLE001 - those who wait are told, whatever it is
                self._numbering = None  # what it would go on from is not known
                self._fail(taken, error)
            except asyncio.CancelledError:
                self._fail(taken, OutcomeUnknown(f"cannot append to {self._tp}: the broker was closed meanwhile"))
                raise
            else:
                for waiting in reversed(taken):
                    if not waiting.done.done():
                        waiting.done.set_result(end)
                    end -= len(waiting.out)

    def _take(self) -> list[_Waiting]:
        """Take what goes into about one batch."""
        taken, size = [self._waiting.popleft()], 0
        size = _size(taken[0].out)
        while self._waiting and (size := size + _size(self._waiting[0].out)) < BATCH_BYTES // 2:
            taken.append(self._waiting.popleft())
        return taken

    async def _send(self, taken: list[_Waiting]) -> int:
        doing = f"cannot append to {self._tp}"
        merged = taken[0].out
        if len(taken) > 1:
            merged = Outgoing()
            for waiting in taken:
                merged.extend(waiting.out)
        if self._numbering is None:
            self._numbering = await persist(doing, self._begin)
        batches = build({self._tp: merged}, self._limits, transactional=False)[self._tp]
        numbering = self._numbering
        sealed = [numbering.seal(self._tp, batch) for batch in batches]
        self._sender.doubtful = False
        try:
            return (await self._sender.send({self._tp: sealed}, Tries(doing)))[self._tp]
        except BrokerUnavailable as error:
            if self._sender.doubtful or len(sealed) > 1:
                raise OutcomeUnknown(f"{error.message}; some records may be there") from error
            raise

    async def _begin(self) -> Numbering:
        response = await self._cluster.ask(InitProducerIdRequest(None, _NO_TIMEOUT))
        check(response.error_code)
        return Numbering(response.producer_id, response.producer_epoch)

    def _fail(self, waiting: list[_Waiting], error: Exception) -> None:
        for each in waiting:
            if not each.done.done():
                each.done.set_exception(error)


def _size(out: Outgoing) -> int:
    return sum(len(value or b"") + len(key or b"") + 20 for key, value in zip(out.keys, out.values, strict=True))
