"""What the gateway is told, the limits it keeps, and what it refuses; the other modules of this room build on it."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import msgspec
from aiohttp import web

from flows.brokers.base import Headers, Outgoing, TopicPartition
from flows.web.answers import answer

LANES = 4
"""Partitions of the topic of keys, and writers of keyed requests. It never changes: a key would be elsewhere."""


class GatewayLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of what a client can ask for; sizes in bytes, times in seconds.

    `body` is the largest body, packed or unpacked, and the largest message of a WebSocket; `rows` the most events of
    one of them, `depth` how deep their JSON may nest. `buffer` is what all clients together may have on the way, read
    but not yet answered. `body_seconds` is what a client may take to send a body, `idle_seconds` what a connection
    may take until the head of its next request is whole, `answer_seconds` what the broker may take; `patience` is how
    long a WebSocket's client may take nothing, and `unanswered` how many of its messages are on the way at most.
    `sockets` is the most WebSockets at once. Keys of requests, and the last sequence of each client, are kept for
    `key_retention`, `keys` of them at most: past that, new ones are refused until old ones have gone. A write waits
    `linger` for others that could leave with it.
    """

    body: int = 8 << 20
    rows: int = 10_000
    depth: int = 64
    buffer: int = 64 << 20
    body_seconds: float = 30.0
    idle_seconds: float = 30.0
    answer_seconds: float = 30.0
    patience: float = 10.0
    unanswered: int = 1000
    sockets: int = 20_000
    key_retention: float = 600.0
    keys: int = 1_000_000
    linger: float = 0.002


class Made(Protocol):
    """A record that is ready for the broker; `timestamp` in milliseconds since the epoch, None where none is told."""

    @property
    def partition(self) -> int: ...

    @property
    def key(self) -> bytes | None: ...

    @property
    def value(self) -> bytes | None: ...

    @property
    def timestamp(self) -> int | None: ...


class IngestTopic(Protocol):
    """A topic that may be written to from outside."""

    @property
    def name(self) -> str: ...

    @property
    def raw(self) -> bool:
        """Whether its values are bytes as they are, not JSON."""

    async def ready(self) -> None:
        """Prepare the schema of its values. Raises `BrokerUnavailable`."""

    def make(
        self,
        text: bytes | msgspec.Raw,
        *,
        key: bytes | None = None,
        key_field: str | None = None,
        timestamp_field: str | None = None,
    ) -> Made:
        """Make a record of a value's text. Raises `FlowsError` that says what does not fit."""


class Refused(Exception):
    """An answer that says no: its status, its words, and more of its body."""

    def __init__(self, status: int, message: str, *, retry_after: int | None = None, **more: Any) -> None:
        super().__init__(message)
        self.status, self.message, self.more = status, message, more
        self.retry_after = retry_after

    def response(self) -> web.Response:
        """Return the answer; after half a body nothing else can come on its connection."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return answer({"error": self.message, **self.more}, status=self.status, headers=headers)


class Budget:
    """Bytes that all clients together may have on the way.

    >>> budget = Budget(10)
    >>> budget.take(8)
    >>> budget.take(8)
    Traceback (most recent call last):
    ...
    flows.web.gateway.base.Refused: the gateway's buffer is full
    """

    def __init__(self, most: int) -> None:
        self.most, self.used = most, 0
        self._given = asyncio.Event()

    def take(self, size: int) -> None:
        """Reserve bytes; raises `Refused` where there is no room."""
        if self.used + size > self.most:
            raise Refused(429, "the gateway's buffer is full", retry_after=1)
        self.used += size

    async def wait(self, size: int) -> None:
        """Reserve bytes once there is room."""
        while self.used + size > self.most:
            self._given.clear()
            await self._given.wait()
        self.used += size

    def give(self, size: int) -> None:
        """Give bytes back."""
        self.used -= size
        self._given.set()


class Events:
    """Records on their way to the broker, by partition, with their size in bytes."""

    __slots__ = ("count", "outputs", "size")

    def __init__(self) -> None:
        self.outputs: dict[TopicPartition, Outgoing] = {}
        self.count = self.size = 0

    def add(self, topic: str, made: Made, timestamp: int, headers: Headers = ()) -> None:
        """Add a record; `timestamp`, in milliseconds, is that of one that tells none."""
        out = self.outputs.setdefault(TopicPartition(topic, made.partition), Outgoing())
        out.append(made.key, made.value, timestamp if made.timestamp is None else made.timestamp, headers)
        self.count += 1
        self.size += len(made.key or b"") + len(made.value or b"") + 32
