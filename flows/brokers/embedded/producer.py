"""Transactional ids, group positions, and the one writer of a task."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from flows.brokers.base import Committed, Outgoing, TopicPartition, Transaction
from flows.brokers.embedded.batches import Append
from flows.brokers.embedded.log import append, find
from flows.brokers.embedded.writer import Scope
from flows.errors import BrokerError, Fenced

T = TypeVar("T")


class Write(Protocol):
    """Queue a job for the writer and wait for its commit."""

    def __call__(self, doing: str, work: Callable[[Scope], T]) -> Awaitable[T]: ...


Encode = Callable[[Mapping[TopicPartition, Outgoing]], list[Append]]


class EmbeddedProducer:
    """A `Producer` and `Appender`: one epoch of a transactional id."""

    def __init__(self, id_: str, epoch: int, write: Write, encode: Encode, now: Callable[[], float]) -> None:
        self.id, self.epoch = id_, epoch
        self._write, self._encode, self._now = write, encode, now
        self._closed = False

    async def commit(self, transaction: Transaction) -> dict[TopicPartition, int]:
        """Apply all of the transaction or nothing; return the end offset of each written partition.

        Raises `Fenced`, `RecordTooLarge`, `BrokerUnavailable` and `UnknownTopic` when nothing was applied,
        `OutcomeUnknown` when that cannot be told.
        """
        group, offsets = transaction.group, dict(transaction.offsets)
        work = self._appending(transaction.outputs)

        def both(scope: Scope) -> dict[TopicPartition, int]:
            ends = work(scope)
            store_positions(scope.connection, group, offsets)
            return ends

        return await self._write(f"commit transaction of {self.id!r}", both)

    async def send(self, outputs: Mapping[TopicPartition, Outgoing]) -> dict[TopicPartition, int]:
        """Append all of these records or none, at once; return the end offset of each written partition.

        Raises as `commit` does.
        """
        return await self._write(f"append records of {self.id!r}", self._appending(outputs))

    def _appending(self, outputs: Mapping[TopicPartition, Outgoing]) -> Callable[[Scope], dict[TopicPartition, int]]:
        if self._closed:
            raise BrokerError(f"producer {self.id!r} is closed", fix="take the id over with broker.producer()")
        appends, now = self._encode(outputs), self._now()

        def work(scope: Scope) -> dict[TopicPartition, int]:
            check_epoch(scope.connection, self.id, self.epoch)
            return append_all(scope, appends, now)

        return work

    async def close(self) -> None:
        """Refuse further commits; those under way finish."""
        self._closed = True


def take_over(connection: sqlite3.Connection, id_: str) -> int:
    """Start a new epoch of a transactional id, which fences all earlier ones; return it."""
    connection.execute("INSERT INTO producers VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET epoch = epoch + 1", (id_,))
    row = connection.execute("SELECT epoch FROM producers WHERE id = ?", (id_,)).fetchone()
    return int(row[0])


def check_epoch(connection: sqlite3.Connection, id_: str, epoch: int) -> None:
    """Raise `Fenced` unless this is still the newest epoch."""
    row = connection.execute("SELECT epoch FROM producers WHERE id = ?", (id_,)).fetchone()
    if row is None or row[0] != epoch:
        newest = None if row is None else row[0]
        raise Fenced(
            f"producer {id_!r} has epoch {epoch}, the newest is {newest}: another has taken over",
            fix="stop the task here; its new holder goes on from the committed offsets",
        )


def append_all(scope: Scope, appends: Sequence[Append], now: float) -> dict[TopicPartition, int]:
    """Write encoded records, and note for the readers where the partitions end now."""
    ends = {each.tp: append(scope.connection, each, now) for each in appends}
    scope.ends.update(ends)
    scope.written += sum(len(blob) for each in appends for _, blob in each.parts)
    return ends


def store_positions(connection: sqlite3.Connection, group: str, offsets: Mapping[TopicPartition, Committed]) -> None:
    """Replace a group's positions in these partitions."""
    rows = [(group, find(connection, tp).id, committed.offset, committed.metadata) for tp, committed in offsets.items()]
    if rows:
        connection.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?)", rows)


def load_positions(
    connection: sqlite3.Connection, group: str, tps: Iterable[TopicPartition]
) -> dict[TopicPartition, Committed]:
    """Return a group's positions; partitions without one, or unknown, are left out."""
    rows = connection.execute(
        """SELECT p.topic, p.number, o.position, o.metadata FROM positions o JOIN partitions p ON p.id = o.partition
           WHERE o.team = ?""",
        (group,),
    )
    wanted = set(tps)
    found = {TopicPartition(topic, number): Committed(*rest) for topic, number, *rest in rows}
    return {tp: committed for tp, committed in found.items() if tp in wanted}


def delete_positions(connection: sqlite3.Connection, group: str) -> None:
    """Forget all positions of a group."""
    connection.execute("DELETE FROM positions WHERE team = ?", (group,))
