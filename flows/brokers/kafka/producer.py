"""The one writer of a task: outputs, changelog and positions in one Kafka transaction."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from aiokafka.protocol.transaction import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
)

from flows.brokers.base import Committed, Outgoing, TopicPartition, Transaction
from flows.brokers.kafka.batches import Numbering, Open, build
from flows.brokers.kafka.cluster import GROUP, TRANSACTION, Cluster
from flows.brokers.kafka.faults import MOVED, Code, Lost, Refused, Unreachable, check
from flows.brokers.kafka.limits import Limits
from flows.brokers.kafka.offsets import by_topic, codes, wire
from flows.brokers.kafka.protocol import InitProducerIdRequest
from flows.brokers.kafka.retry import Tries
from flows.brokers.kafka.sender import Sender
from flows.brokers.kafka.txn_wire import Standing, TxnOffsetCommit
from flows.errors import BrokerError, Fenced, OutcomeUnknown

log = logging.getLogger("flows.kafka")

TRANSACTION_SECONDS = 10.0
"""After which the coordinator ends a transaction whose producer is gone: until then its records hold up readers."""

_WRITE_SECONDS = 8.0  # so that we give up before the coordinator does
_END_SECONDS = 20.0
_START_SECONDS = 30.0
_CLOSE_SECONDS = 1.0
_LARGE = 5_000  # records whose batches are built in a thread: some 3 ms
_lanes = itertools.count()


class KafkaProducer:
    """A `Producer`: one epoch of a transactional id. Made by `take_over`.

    `standing` tells as whom it writes a group's positions, and raises where it may not any more.
    """

    def __init__(
        self,
        cluster: Cluster,
        limits: Limits,
        id_: str,
        committed: Callable[[Mapping[TopicPartition, int]], None],
        standing: Callable[[], Standing] = Standing,
    ) -> None:
        self.id = id_
        self._cluster, self._limits, self._committed, self._standing = cluster, limits, committed, standing
        self._lane = ("producer", next(_lanes))
        self._sender = Sender(cluster, (*self._lane, "send"), id_)
        self._numbering = Numbering(-1, -1)
        self._turn = asyncio.Lock()
        self._begun = self._in_doubt = self.closed = False

    async def take_over(self) -> None:
        """Become the producer of the id: earlier holders are fenced, their open transactions ended, from then on."""
        await self._renew(f"cannot take over transactional id {self.id!r}", _START_SECONDS)

    async def commit(self, transaction: Transaction) -> dict[TopicPartition, int]:
        """Apply all of the transaction or nothing; return the end offset of each written partition.

        1. Check what can be known before: partitions, sizes, keys. Build the batches.
        2. Tell the coordinator the partitions, and the group, that the transaction will write to.
        3. Write the batches and the positions; wait until every one is stored.
        4. End the transaction.

        Raises `Fenced`; `RecordTooLarge`, `UnknownTopic` and `BrokerUnavailable` when nothing was applied, and the same
        transaction may be tried again; `OutcomeUnknown` when that cannot be told: open another producer then.
        """
        async with self._turn:
            self._check()
            # 1
            outputs = {tp: copied(out) for tp, out in transaction.outputs.items() if len(out)}
            offsets = dict(transaction.offsets)
            if not outputs and not offsets:
                return {}
            await self._limits.check(outputs)
            batches = await self._build(outputs)
            doing = f"cannot commit transaction of {self.id!r}"
            if self._begun:
                await self._renew(doing, _WRITE_SECONDS)
            tries = Tries(doing, _WRITE_SECONDS)
            self._begun = True
            # 2
            await _together(
                self._add_partitions(outputs, tries) if outputs else None,
                self._add_group(transaction.group, tries) if offsets else None,
            )
            # 3
            sealed = {tp: [self._numbering.seal(tp, batch) for batch in queue] for tp, queue in batches.items()}
            ends, _ = await _together(
                self._sender.send(sealed, tries) if sealed else None,
                self._write_offsets(transaction.group, offsets, tries) if offsets else None,
            )
            # 4
            await self._end(doing)
            self._begun = False
            self._committed(ends or {})
            return ends or {}

    async def close(self) -> None:
        """Abort what is open, so that readers need not wait for its timeout; refuse further commits."""
        if self.closed:
            return
        self.closed = True
        if self._begun and not self._in_doubt:
            tries = Tries(f"cannot abort transaction of {self.id!r}", _CLOSE_SECONDS)
            try:
                await self._coordinator(TRANSACTION, self.id, lambda: self._end_request(commit=False), _code, tries)
            except BrokerError as error:
                log.debug("%s; its timeout will", error)
        self._cluster.leave((*self._lane, "send"))
        self._cluster.leave(self._lane)

    def _check(self) -> None:
        if self.closed:
            raise BrokerError(f"producer {self.id!r} is closed", fix="take the id over with broker.producer()")
        if self._in_doubt:
            raise OutcomeUnknown(
                f"the last commit of {self.id!r} may or may not have been applied",
                fix="take the id over with broker.producer(), and go on from the committed offsets",
            )

    async def _build(self, outputs: Mapping[TopicPartition, Outgoing]) -> dict[TopicPartition, list[Open]]:
        if sum(map(len, outputs.values())) < _LARGE:
            return build(outputs, self._limits, transactional=True)
        return await asyncio.to_thread(build, outputs, self._limits, transactional=True)

    async def _renew(self, doing: str, seconds: float) -> None:
        """Get a new epoch, which aborts what is open and starts the numbering of records anew.

        With an epoch of ours already, the coordinator refuses unless it is still the newest: nobody is fenced by it.
        """
        numbering = self._numbering
        request = InitProducerIdRequest(
            self.id, int(TRANSACTION_SECONDS * 1000), numbering.producer_id, numbering.epoch
        )

        def read(response: Any) -> Numbering:
            check(response.error_code)
            return Numbering(response.producer_id, response.producer_epoch)

        self._numbering = await self._coordinator(TRANSACTION, self.id, lambda: request, read, Tries(doing, seconds))
        self._begun = False

    async def _add_partitions(self, outputs: Mapping[TopicPartition, Outgoing], tries: Tries) -> None:
        topics = [(topic, [partition for partition, _ in parts]) for topic, parts in by_topic(outputs)]
        request = AddPartitionsToTxnRequest(self.id, *self._identity, topics)
        await self._coordinator(TRANSACTION, self.id, lambda: request, codes, tries)

    async def _add_group(self, group: str, tries: Tries) -> None:
        request = AddOffsetsToTxnRequest(self.id, *self._identity, group)
        await self._coordinator(TRANSACTION, self.id, lambda: request, _code, tries)

    async def _write_offsets(self, group: str, offsets: Mapping[TopicPartition, Committed], tries: Tries) -> None:
        def request() -> TxnOffsetCommit:
            standing = self._standing()  # of now: a round of the group may have ended meanwhile
            return TxnOffsetCommit(self.id, group, self._identity, standing, wire(offsets, standing))

        await self._coordinator(GROUP, group, request, codes, tries)

    async def _end(self, doing: str) -> None:
        """Commit; asked again, the coordinator answers the same, so that a lost answer is no doubt yet."""
        tries = Tries(doing, _END_SECONDS)
        self._in_doubt, doubtful = True, False
        while True:
            try:
                node = await self._cluster.coordinator(TRANSACTION, self.id)
                _code(await self._cluster.send(node, self._end_request(commit=True), self._lane))
            except (Lost, Refused) as error:
                self._look_elsewhere(error, TRANSACTION, self.id)
                doubtful |= _may_have_worked(error)
                if not tries.left(error):
                    self._in_doubt = doubtful
                    if doubtful:
                        raise OutcomeUnknown(f"{doing}: the answer was lost, then: {error}") from error
                await tries.again(error)
            else:
                self._in_doubt = False
                return

    def _end_request(self, *, commit: bool) -> Any:
        return EndTxnRequest(self.id, *self._identity, commit)

    @property
    def _identity(self) -> tuple[int, int]:
        return self._numbering.producer_id, self._numbering.epoch

    async def _coordinator(
        self, kind: int, key: str, request: Callable[[], Any], read: Callable[[Any], Any], tries: Tries
    ) -> Any:
        while True:
            try:
                node = await self._cluster.coordinator(kind, key)
                return read(await self._cluster.send(node, request(), self._lane))
            except (Lost, Refused) as error:
                self._look_elsewhere(error, kind, key)
                await tries.again(error)

    def _look_elsewhere(self, error: Lost | Refused, kind: int, key: str) -> None:
        if isinstance(error, Lost) or error.code in MOVED:
            self._cluster.moved(kind, key)


def copied(out: Outgoing) -> Outgoing:
    """Keep what is appended from now on out of it."""
    headers = None if out.headers is None else list(out.headers)
    return Outgoing(list(out.keys), list(out.values), list(out.timestamps), headers)


async def _together(*works: Coroutine[Any, Any, Any] | None) -> list[Any]:
    """Do these at the same time and wait for all, also when one fails: none may go on behind our back."""
    there = [asyncio.ensure_future(work) for work in works if work is not None]
    results = iter(await asyncio.gather(*there, return_exceptions=True))
    found = [None if work is None else next(results) for work in works]
    errors = [result for result in found if isinstance(result, BaseException)]
    if errors:
        raise next((error for error in errors if isinstance(error, Fenced)), errors[0])
    return found


def _may_have_worked(error: Lost | Refused) -> bool:
    """Tell whether a request to end a transaction may have been carried out although this was the answer."""
    if isinstance(error, Lost):
        return not isinstance(error, Unreachable)
    return error.retriable and error.code not in (Code.NOT_COORDINATOR, Code.COORDINATOR_LOAD_IN_PROGRESS)


def _code(response: Any) -> None:
    check(response.error_code)
