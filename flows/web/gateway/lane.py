"""Keyed requests are there exactly once, however often they are sent, and whichever gateway dies.

The problem: a client that got no answer sends its request again, perhaps to another gateway. Its events must be there
once. So whoever writes them must know what was written before, by anyone, and nobody else may write meanwhile. Kafka
has the means for its own producers only: numbered batches, and transactional ids of which one holder is fenced by the
next. The gateway does the same for clients that speak HTTP (the numbers are their keys and sequences), by these means.

Keys and clients fall into `LANES` by their digest. A lane is a partition of the topic APP-gateway-keys, and the
transactional id APP-gateway-LANE. What is written under a key is said in that partition, in one transaction with the
events: either both are there or neither (`book` has its records). Of all gateways one holds a lane: the last that took
its id over. Nobody is elected; whoever has a keyed request for a lane that it does not hold takes it.

1. Take the transactional id over. From here on the earlier holder is fenced: what it has not committed never will be,
   and what it has is there for all to see.
2. Read the lane's partition up to its end, from where this gateway had read it or from its beginning: the book now
   says all that was ever written, but for what is older than the retention.
3. Of the requests that wait, in order: one that the book has is answered as a duplicate and not written; one whose key
   the book has with another content is refused; of two equal ones the second waits for the first.
4. Commit the events of all others and their records in one transaction.
5. Note them in the book, answer them. Forget what is older than the retention; now and then let the broker drop it.

A gateway that dies before 4 has written nothing; after it, all is there, and the next holder learns so in 2. When a
commit fails and it is not known whether it was applied (`Fenced`, `OutcomeUnknown`), the gateway itself goes back to
1 with the same requests: 2 and 3 tell which of them were. So no answer is ever a guess. Where the broker says that
nothing was applied (`BrokerUnavailable`), the client is told to come again. A holder that was fenced pauses before it
takes the lane back, so that two gateways with keyed requests for one lane take turns and do not abort each other for
ever; what waits meanwhile leaves in one transaction.

Sequences of a client must be written in their order, for the book keeps only the last: 3 takes a smaller one for a
duplicate. So once a message of a socket has failed, nothing that follows on that socket is written (`Session`); the
client connects again, is told the last sequence that is there, and goes on behind it.

Retention: a key that is older than `key_retention` is forgotten, and its request would be written again. Requests that
are late by more than that need another protection, such as `dedupe` on a field of the events.

Others do likewise: the draft "The Idempotency-Key HTTP Header Field" of the IETF (422 for another content under the
same key), Stripe's API (keys are kept for a day), KIP-98 (fencing and numbered batches), Pulsar's deduplication (the
last sequence of each producer, in a compacted log).
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from time import monotonic

from flows.brokers.base import Broker, Producer, TopicPartition, Transaction
from flows.clock import Clock
from flows.errors import BrokerError, BrokerUnavailable, FlowsError, RecordTooLarge, UnknownTopic
from flows.web.gateway.base import GatewayLimits, Refused
from flows.web.gateway.book import Book, Claim, Look, Mismatch, Once, Sequence, record_of
from flows.web.gateway.metrics import GatewayMetrics
from flows.web.gateway.writers import Waiting, Writer, fail, log, merged

_PAUSE = (0.05, 0.15)
_MOST_DOUBLINGS = 4
_READ = 10_000
_READ_SECONDS = 1.0
_PURGE_EVERY = 30.0


class Lane(Writer):
    """One lane of one gateway; see the module for the protocol. `prepare` makes the topic of keys, once."""

    def __init__(
        self,
        broker: Broker,
        clock: Clock,
        transactional_id: str,
        tp: TopicPartition,
        limits: GatewayLimits,
        most: int,
        metrics: GatewayMetrics,
        prepare: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(limits.linger)
        self._broker, self._clock, self._id, self._tp = broker, clock, transactional_id, tp
        self._limits, self._most, self._metrics, self._prepare = limits, most, metrics, prepare
        self.book = Book(limits.key_retention)
        self._producer: Producer | None = None
        self._position: int | None = None
        self._failures = 0
        self._purged = monotonic()
        self._purgeable: int | None = None

    async def close(self) -> None:
        """Finish what is queued and let the lane go."""
        await super().close()
        await self._let_go()

    async def _write(self, taken: list[Waiting]) -> None:
        if self._producer is None:
            try:
                self._producer = await self._take_over()  # 1, 2
            except FlowsError as error:
                fail(taken, error)
                return
        fresh, behind = self._judged(taken)  # 3
        if not fresh:
            return
        now = round(self._clock.now() * 1000)
        claims = [w.claim for w in fresh if isinstance(w.claim, Once | Sequence)]
        outputs = {**merged(fresh), self._tp: record_of(claims, now)}
        try:
            ends = await self._producer.commit(Transaction(group="", outputs=outputs))  # 4
        except (RecordTooLarge, UnknownTopic) as error:
            await self._write_apart(fresh, behind, error)
        except BrokerUnavailable as error:
            fail([*fresh, *behind], error)
        except BrokerError as error:
            log.info("lane %s is taken over again: %s", self._id, error)
            self._queue.extendleft(reversed([w for w in taken if not w.done.done()]))
            await self._let_go()
            await self._pause()
        else:
            self._failures = 0
            self._done(fresh, behind, claims, now, ends[self._tp])  # 5
            await self._drop_old(now)

    async def _take_over(self) -> Producer:
        """Become the one who holds the lane, and know all that was written there."""
        await self._prepare()
        # 1
        producer = await self._broker.producer(self._id)
        self._metrics.take_overs += 1
        # 2
        try:
            start = (await self._broker.start_offsets([self._tp]))[self._tp]
            end = (await self._broker.end_offsets([self._tp]))[self._tp]
            reader = self._broker.reader({self._tp: max(start, self._position or 0)})
            try:
                while reader.position(self._tp) < end:
                    for records in await reader.fetch(_READ, _READ_SECONDS):
                        self.book.read(records)
                        self._position = records.next_offset
            finally:
                await reader.close()
        except BaseException:
            await producer.close()
            raise
        self._position = end
        self.book.expire(round(self._clock.now() * 1000))
        return producer

    def _judged(self, taken: list[Waiting]) -> tuple[list[Waiting], list[Waiting]]:
        """Answer what the book can; return what is to be written, and what equals one of these."""
        fresh: list[Waiting] = []
        behind: list[Waiting] = []
        keys: dict[bytes, bytes] = {}
        last: dict[bytes, int] = {}
        for waiting in taken:
            claim = waiting.claim
            assert claim is not None
            if isinstance(claim, Look):
                waiting.settle(self.book.last(claim.id))
            elif waiting.session is not None and waiting.session.broken:
                waiting.fail(Refused(503, "a message before it was not written", retry_after=1))
            elif self._clashes(claim, keys):
                waiting.fail(Refused(422, "the Idempotency-Key came before with another request"))
            elif self.book.is_written(claim):
                waiting.settle(True)
            elif claim.id in keys or (isinstance(claim, Sequence) and claim.number <= last.get(claim.id, -1)):
                behind.append(waiting)
            elif len(self.book) + len(keys) >= self._most and not self.book.knows(claim):
                waiting.fail(Refused(429, "too many keys are remembered", retry_after=self._until_room()))
            else:
                fresh.append(waiting)
                if isinstance(claim, Once):
                    keys[claim.id] = claim.mark
                else:
                    last[claim.id] = claim.number
        return fresh, behind

    def _clashes(self, claim: Claim, keys: dict[bytes, bytes]) -> bool:
        if isinstance(claim, Sequence):
            return False
        try:
            return not self.book.is_written(claim) and keys.get(claim.id, claim.mark) != claim.mark
        except Mismatch:
            return True

    async def _write_apart(self, fresh: list[Waiting], behind: list[Waiting], error: BrokerError) -> None:
        """Write each by itself: one's fault is not the others'."""
        if len(fresh) == 1:
            fail([*fresh, *behind], error)
            return
        rest = deque([*fresh, *behind])
        while rest and self._producer is not None:
            await self._write([rest.popleft()])
        self._queue.extendleft(reversed(rest))  # the lane was lost in between: they are judged anew

    def _done(self, fresh: list[Waiting], behind: list[Waiting], claims: list[Claim], now: int, end: int) -> None:
        self._metrics.writes += 1
        self._position = end
        self.book.noted(claims, now, end)
        for waiting in fresh:
            waiting.settle(False)
        for waiting in behind:
            waiting.settle(True)

    async def _drop_old(self, now: int) -> None:
        self._purgeable = self.book.expire(now) or self._purgeable
        if self._purgeable is None or monotonic() - self._purged < _PURGE_EVERY:
            return
        self._purged = monotonic()
        try:
            await self._broker.purge({self._tp: self._purgeable})
        except BrokerError as error:
            log.warning("old keys of lane %s stay for now: %s", self._id, error)
        else:
            self._purgeable = None

    def _until_room(self) -> int:
        oldest = self.book.oldest()
        now = self._clock.now()
        return 1 if oldest is None else max(1, round(oldest / 1000 + self._limits.key_retention - now) + 1)

    async def _let_go(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                await producer.close()
            except BrokerError as error:
                log.debug("cannot close the producer of lane %s: %s", self._id, error)

    async def _pause(self) -> None:
        """Let another gateway have the lane for a while, longer each time."""
        await asyncio.sleep(random.uniform(*_PAUSE) * 2 ** min(self._failures, _MOST_DOUBLINGS))
        self._failures += 1
