"""What the engine needs of a broker: partitioned logs, transactional commits, groups of members.

Two implementations (`embedded`, `kafka`), one contract suite. All calls are made from one event loop; an
implementation does its blocking work in threads of its own. Times are milliseconds since the epoch in
records (as in Kafka) and seconds everywhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from flows.brokers.groups import Member as Member
from flows.brokers.groups import Membership as Membership
from flows.brokers.groups import TaskInputs as TaskInputs
from flows.brokers.groups import TopicPartition as TopicPartition

Headers = tuple[tuple[str, bytes], ...]


class TopicSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a topic is created with.

    `cleanup` is `"delete"` (drop batches older than `retention` seconds, by the wall clock of their append) or
    `"compact"` (keep the last record of each key; tombstones go after `tombstone_retention` seconds).
    `retention=None` keeps records for ever. `internal` topics are made and owned by Flows. `any_retention` takes a
    topic that exists as others made it, whatever it keeps and for how long; its partitions must be as wanted.
    """

    name: str
    partitions: int = 1
    cleanup: str = "delete"
    retention: float | None = 7 * 86400.0
    tombstone_retention: float = 7 * 86400.0
    internal: bool = False
    any_retention: bool = False


class Records(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive records of one partition, column-wise; all sequences have the same length.

    `offsets` ascend but may have holes (compaction, control records). `next_offset` is the position after the
    last record, holes included. `headers` is None when no record has any.
    """

    tp: TopicPartition
    offsets: Sequence[int]
    timestamps: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Headers] | None
    next_offset: int

    def __len__(self) -> int:
        return len(self.values)

    def origin(self, row: int) -> TopicPartition:
        """Return the partition that the record at a place is of."""
        return self.tp

    def split(self, count: int) -> tuple[Records, Records | None]:
        """Return the first `count` records and the rest (None when nothing is left)."""
        if count >= len(self):
            return self, None
        head, tail = slice(0, count), slice(count, None)
        return self._part(head, self.offsets[count]), self._part(tail, self.next_offset)

    def take(self, rows: Sequence[int]) -> Records:
        """Return the records at these places; `next_offset` stays that of the whole."""
        if len(rows) == len(self):
            return self
        return Records(
            tp=self.tp,
            offsets=[self.offsets[i] for i in rows],
            timestamps=[self.timestamps[i] for i in rows],
            keys=[self.keys[i] for i in rows],
            values=[self.values[i] for i in rows],
            headers=None if self.headers is None else [self.headers[i] for i in rows],
            next_offset=self.next_offset,
        )

    def _part(self, part: slice, next_offset: int) -> Records:
        return Records(
            tp=self.tp,
            offsets=self.offsets[part],
            timestamps=self.timestamps[part],
            keys=self.keys[part],
            values=self.values[part],
            headers=None if self.headers is None else self.headers[part],
            next_offset=next_offset,
        )


class Outgoing:
    """Records to append to one partition, column-wise. `headers` stays None until a record has some.

    >>> out = Outgoing()
    >>> out.append(b"k", b"v", 1_700_000_000_000)
    >>> len(out)
    1
    """

    __slots__ = ("headers", "keys", "timestamps", "values")

    def __init__(
        self,
        keys: list[bytes | None] | None = None,
        values: list[bytes | None] | None = None,
        timestamps: list[int] | None = None,
        headers: list[Headers] | None = None,
    ) -> None:
        self.keys: list[bytes | None] = [] if keys is None else keys
        self.values: list[bytes | None] = [] if values is None else values
        self.timestamps: list[int] = [] if timestamps is None else timestamps
        self.headers: list[Headers] | None = headers

    def __len__(self) -> int:
        return len(self.values)

    def append(self, key: bytes | None, value: bytes | None, timestamp: int, headers: Headers = ()) -> None:
        if headers and self.headers is None:
            self.headers = [()] * len(self.values)
        if self.headers is not None:
            self.headers.append(headers)
        self.keys.append(key)
        self.values.append(value)
        self.timestamps.append(timestamp)

    def extend(self, other: Outgoing) -> None:
        """Append all of another batch."""
        if other.headers is not None and self.headers is None:
            self.headers = [()] * len(self.values)
        if self.headers is not None:
            self.headers.extend(other.headers if other.headers is not None else [()] * len(other))
        self.keys.extend(other.keys)
        self.values.extend(other.values)
        self.timestamps.extend(other.timestamps)


class Committed(msgspec.Struct, frozen=True):
    """A group's committed position in one partition; `metadata` is a small string kept with it."""

    offset: int
    metadata: str = ""


class Transaction(msgspec.Struct, kw_only=True):
    """What one task commits at once: appended records and its group's positions."""

    group: str
    outputs: dict[TopicPartition, Outgoing] = {}
    offsets: dict[TopicPartition, Committed] = {}


class Producer(Protocol):
    """The one writer of a task. A newer producer of the same id fences the older, or the loss of the task's place."""

    async def commit(self, transaction: Transaction) -> dict[TopicPartition, int]:
        """Apply all of the transaction or nothing; return the end offset of each written partition.

        Raises `Fenced` when a newer producer of this id exists, `RecordTooLarge` and `BrokerUnavailable` when
        nothing was applied, `OutcomeUnknown` when that cannot be told.
        """

    async def close(self) -> None:
        """Give back what the producer holds; nothing uncommitted is written."""


class Appender(Producer, Protocol):
    """The writer of a task that commits at least once: what it sends is there at once, outside of any transaction.

    `commit` keeps an order where it is not atomic: the offsets are written once all outputs are durable. Of a commit
    that failed with `OutcomeUnknown` any part may be there, but never an offset without the outputs before it. A newer
    appender of the same id fences the older: its offsets are refused. Where the broker cannot refuse records too
    (Kafka, without a transaction), a zombie may still append some: doubled, never lost.
    """

    async def send(self, outputs: Mapping[TopicPartition, Outgoing]) -> dict[TopicPartition, int]:
        """Append records; return the end offset behind them, of each partition, once they are durable.

        Those of one partition keep the order of the calls. Readers see them from then on, whatever becomes of the
        task. Raises as `commit` does; after `OutcomeUnknown` or `BrokerUnavailable` some may be there.
        """


class Reader(Protocol):
    """Read assigned partitions from given positions, committed records only."""

    async def fetch(self, max_records: int, timeout: float) -> list[Records]:
        """Return what is there, one `Records` a partition; wait up to `timeout` seconds if nothing is.

        Of a partition come at most about `max_records`.
        Positions move on by what was returned, and across holes: it returns nothing, but at once, when it moved one
        across offsets without a record. Raises `OffsetOutOfRange`, `BrokerUnavailable`.
        """

    def position(self, tp: TopicPartition) -> int:
        """Return the next offset that `fetch` will read."""

    def pause(self, tps: Iterable[TopicPartition]) -> None:
        """Leave these partitions out of `fetch` until resumed."""

    def resume(self, tps: Iterable[TopicPartition]) -> None:
        """Read these partitions again."""

    async def close(self) -> None: ...


class Broker(Protocol):
    """A set of topics, and the groups that read them.

    `max_record_bytes` is the most that key and value of one record may have together: know it before a commit.
    `shares_disk` tells whether all members of its groups are on one machine: no state has to move between them.
    """

    max_record_bytes: int
    shares_disk: bool

    async def start(self) -> None:
        """Connect; raises `BrokerUnavailable` or `BrokerError` with the fix."""

    async def close(self) -> None: ...

    async def create_topic(self, spec: TopicSpec) -> None:
        """Create the topic unless it exists; raises `TopicMismatch` when it exists with other settings."""

    async def topics(self) -> dict[str, TopicSpec]:
        """Return all topics by name."""

    async def topic_ids(self, names: Iterable[str]) -> dict[str, str]:
        """Return what tells a topic from another one of the same name, before it or after it was deleted.

        Left out are topics that do not exist, and all of them where the brokers are too old to tell (Kafka before 2.8).
        """

    async def alter_retention(self, name: str, seconds: float | None) -> None:
        """Keep a topic's records for so many seconds from now on, None for ever; older ones go as by any retention.

        Partitions and cleanup are never altered: keys would be elsewhere, or records gone. Raises `UnknownTopic`, and
        `BrokerError` for a compacted topic. On Kafka this is `retention.ms` by IncrementalAlterConfigs.
        """

    async def delete_topic(self, name: str) -> None:
        """Remove a topic with its records; unknown names raise `UnknownTopic`."""

    async def start_offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]: ...

    async def end_offsets(self, tps: Iterable[TopicPartition], *, written: bool = False) -> dict[TopicPartition, int]:
        """Return the position after the last committed record of each partition.

        With `written`, that after the last record of transactions under way too: to read up to there waits for them.
        """

    def reader(self, positions: Mapping[TopicPartition, int]) -> Reader:
        """Open a reader at these positions."""

    async def produce(self, outputs: Mapping[TopicPartition, Outgoing]) -> dict[TopicPartition, int]:
        """Append records durably and atomically, outside of any task; return the end offsets."""

    async def producer(
        self, transactional_id: str, *, group: str = "", inputs: Iterable[TopicPartition] = ()
    ) -> Producer:
        """Take over a transactional id: earlier holders are fenced from this moment.

        A task of a `group` that this process has joined is fenced with its place in the group, where the broker can
        tell (Kafka): its commits then share transactions with those of the process's other tasks. `inputs` are what
        it reads. Close it before the task is released.
        """

    async def appender(self, transactional_id: str, *, group: str = "") -> Appender:
        """Take over a transactional id as `producer` does, to write without transactions: at least once."""

    async def committed(
        self, group: str, tps: Iterable[TopicPartition], *, stable: bool = True
    ) -> dict[TopicPartition, Committed]:
        """Return the group's positions; partitions without one are left out.

        Where a transaction that moves one is under way, wait for its end, or, if not `stable`, tell the position before
        it. Who goes on from there needs it stable; for a look, busy tasks would let one wait for seconds.
        """

    async def delete_offsets(self, group: str) -> None:
        """Forget all positions of a group."""

    async def purge(self, before: Mapping[TopicPartition, int]) -> None:
        """Drop records below these offsets (of repartition topics, once they are processed)."""

    async def join(
        self,
        group: str,
        member_id: str,
        tasks: TaskInputs,
        *,
        address: str = "",
        plan: str = "",
        standbys: int = 0,
        lags: Mapping[str, int] | None = None,
    ) -> Membership:
        """Join a group whose members share `tasks`. Members of another `plan` wait until the old have left.

        `standbys` is how many warm copies there should be of each task's state, `lags` what `Membership.report` would
        tell of the state that is here already. Both mean nothing where members share a disk.
        """

    async def group_members(self, group: str) -> list[Member]:
        """Return the live members of a group without joining it."""
