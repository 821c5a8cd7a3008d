"""Asking agents from anywhere in a worker: the question leaves at once, the answer comes by a topic of the app.

All workers share that topic, so that none leaves one behind when it dies: each reads one partition of it from where the
partition ended at the first question, and takes the answers whose correlation ids are its own. The topic forgets after
an hour.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import cached_property
from typing import Any
from uuid import uuid4
from zlib import crc32

import msgspec

from dsl.plan.graph import Plan
from flows.brokers.base import Broker, Outgoing, Reader, Records, TopicPartition, TopicSpec
from flows.clock import Clock
from flows.compile.context import topic_encoders
from flows.compile.names import reply_topic
from flows.decode.codecs import Codecs
from flows.errors import AgentError, AnswerTimeout, BrokerUnavailable, OffsetOutOfRange
from flows.operate.replies import ASKED_BY, CORRELATION, ERROR, REPLY_PARTITION, REPLY_TO
from flows.sink.encode import Encoders

log = logging.getLogger("flows.asking")

_PARTITIONS = 8
_KEPT = 3600.0
_WAIT = 60.0
_RETRY = 0.5

Answer = tuple[bytes | None, bytes | None]
"""The value as JSON, and why there is none."""


class Asking:
    """The questions that this worker waits for."""

    def __init__(self, plan: Plan, codecs: Codecs, broker: Broker, clock: Clock) -> None:
        self.waiting: dict[str, asyncio.Future[Answer]] = {}
        self._plan, self._codecs, self._broker, self._clock = plan, codecs, broker, clock
        self._id = uuid4().hex
        self._count = 0
        name = reply_topic(plan.app)
        self._place = TopicPartition(name, crc32(self._id.encode()) % _PARTITIONS)
        self._spec = TopicSpec(name=name, partitions=_PARTITIONS, retention=_KEPT, internal=True)
        self._begun = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None

    async def ask(
        self,
        agent: str,
        topic: Any,
        value: Any,
        key: Any,
        timestamp: float | None,
        partition: int | None,
        headers: dict[str, bytes] | None,
        timeout: float,
        returns: Any,
        *,
        waits: tuple[str, ...] = (),
    ) -> Any:
        """Ask an agent and return its answer; `waits` are the sub-topologies that wait for it.

        1. Read the answers from here on.
        2. Write the question, outside of any transaction: in one, it would leave after its answer.
        3. Wait for the answer.

        Raises `AgentError` for a question that would wait for itself, and for one that was refused; `AnswerTimeout`.
        """
        self._check_circle(agent, waits)
        await self._codecs.ready(topic.name)
        self._count += 1
        question = f"{self._id}-{self._count}"
        own = {
            **(headers or {}),
            REPLY_TO: self._place.topic.encode(),
            REPLY_PARTITION: str(self._place.partition).encode(),
            CORRELATION: question.encode(),
        }
        if waits:
            own[ASKED_BY] = ",".join(waits).encode()
        name, where, key_bytes, data, ms, sent = self._encoders.encode(
            topic.name, value, key, timestamp, partition, own
        )
        out = Outgoing()
        out.append(key_bytes, data, ms, sent)
        answer = self.waiting[question] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout):
                # 1
                await self._begin()
                # 2
                await self._broker.produce({TopicPartition(name, where): out})
                # 3
                found, error = await answer
        except TimeoutError:
            raise AnswerTimeout(
                f"agent {agent!r} has not answered within {timeout:g} s",
                fix="see whether a worker runs it and how far behind it is, or wait longer: timeout=",
            ) from None
        finally:
            del self.waiting[question]
        if error is not None:
            raise AgentError(f"agent {agent!r} did not answer: {error.decode()}")
        return msgspec.json.decode(found or b"null", type=returns)

    async def close(self) -> None:
        """Wait for no more answers."""
        for answer in self.waiting.values():
            answer.cancel()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    def _check_circle(self, agent: str, waits: tuple[str, ...]) -> None:
        part = self._plan.subtopology_of(agent).name
        if part in waits:
            raise AgentError(
                f"agent {agent!r} runs in the tasks of {part!r}, one of which waits for this: it would wait for itself",
                fix="cast() instead, or call a function of both agents",
            )

    @cached_property
    def _encoders(self) -> Encoders:
        return topic_encoders(
            self._plan, self._codecs, self._broker.max_record_bytes, lambda: int(self._clock.now() * 1000)
        )

    async def _begin(self) -> None:
        async with self._begun:
            if self._reading is None or self._reading.done():
                await self._broker.create_topic(self._spec)
                ends = await self._broker.end_offsets([self._place])
                reader = self._broker.reader(ends)
                self._reading = asyncio.create_task(self._read(reader), name="answers")

    async def _read(self, reader: Reader) -> None:
        while True:
            try:
                while True:
                    for records in await reader.fetch(1_000, _WAIT):
                        self._take(records)
            except BrokerUnavailable as error:
                log.warning("answers cannot be read, tries again: %s", error)
                await asyncio.sleep(_RETRY)
            except OffsetOutOfRange as error:
                # What is gone is older than any question may wait.
                log.warning("answers went by unread: %s", error)
                await reader.close()
                reader = self._broker.reader(await self._broker.start_offsets([self._place]))
            except BaseException:
                with suppress(Exception):
                    await reader.close()
                raise

    def _take(self, records: Records) -> None:
        headers = records.headers or [()] * len(records)
        for value, own in zip(records.values, headers, strict=True):
            told = dict(own)
            answer = self.waiting.get(told.get(CORRELATION, b"").decode())
            if answer is not None and not answer.done():
                answer.set_result((value, told.get(ERROR)))
