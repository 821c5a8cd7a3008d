"""The embedded broker: Flows' default, one SQLite file in a folder, shared by the processes of one machine.

Everything is called from one event loop. Threads do what blocks, each with a connection of its own: the writer (group
commit), the reader, the watch (commits of other processes), the keeper of leases, the checkpointer, the maintainer.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from flows.brokers.base import Committed, Member, Outgoing, TaskInputs, TopicPartition, TopicSpec
from flows.brokers.embedded import log, producer, retain, topics
from flows.brokers.embedded.batches import Append, encode_append
from flows.brokers.embedded.checkpoint import Checkpointer
from flows.brokers.embedded.faults import database_fault, system_fault
from flows.brokers.embedded.keeper import Keeper
from flows.brokers.embedded.maintain import Maintainer
from flows.brokers.embedded.membership import EmbeddedMembership, group_members, join_group
from flows.brokers.embedded.producer import EmbeddedProducer
from flows.brokers.embedded.reader import EmbeddedReader
from flows.brokers.embedded.schema import BROKER, LEASES, Layout, connect, create_files, pragma
from flows.brokers.embedded.space import FreeSpace
from flows.brokers.embedded.turn import Turn
from flows.brokers.embedded.watch import Watch
from flows.brokers.embedded.writer import Scope, Writer
from flows.clock import Clock, SystemClock
from flows.errors import BrokerError

T = TypeVar("T")


class EmbeddedBroker:
    """A `Broker` in a folder.

    `lease` is how many seconds a silent member keeps its tasks, `max_record_bytes` the most that key and value
    of a record may have together, `max_bytes` the most that the file may grow to (None: the disk decides),
    `min_free_bytes` what appends leave free on the disk, so that purges and retention can still work,
    `maintenance` the seconds between rounds that drop and compact old records (None: only by `maintain()`).
    """

    shares_disk = True

    def __init__(
        self,
        folder: Path | str,
        clock: Clock | None = None,
        lease: float = 10.0,
        *,
        max_record_bytes: int = 1_000_000,
        max_bytes: int | None = None,
        min_free_bytes: int = 64 << 20,
        maintenance: float | None = 5.0,
    ) -> None:
        self.folder = Path(folder).absolute()
        self.max_record_bytes = max_record_bytes
        self._clock, self._lease = clock or SystemClock(), lease
        self._max_bytes = max_bytes
        self._space = FreeSpace(self.folder, min_free_bytes)
        self._maintenance = maintenance
        self._path = self.folder / BROKER.file
        self._process: int | None = None
        self._connections: list[sqlite3.Connection] = []
        self._turns: list[Turn] = []

    async def start(self) -> None:
        """Create or open the files; raises `BrokerUnavailable` or `BrokerError` with the fix."""
        if self._process is not None:
            raise BrokerError(f"the broker in {self.folder} is started already")
        await asyncio.to_thread(create_files, self.folder)
        try:
            self._open()
        except sqlite3.Error as error:
            self._release()
            raise database_fault(error, self._path, "open the broker's file") from error
        except OSError as error:
            self._release()
            raise system_fault(error, self.folder, "use the folder") from error

    def _connect(self, layout: Layout) -> sqlite3.Connection:
        self._connections.append(connection := connect(self.folder / layout.file, layout))
        return connection

    def _open(self) -> None:
        writes, watched, checked, maintained = (self._connect(BROKER) for _ in range(4))
        self._read_db, leased = self._connect(BROKER), self._connect(LEASES)
        if self._max_bytes is not None:
            pages = max(1, self._max_bytes // pragma(writes, "page_size"))
            writes.execute(f"PRAGMA max_page_count={pages}").fetchone()
        self._turns += [Turn(self.folder), Turn(self.folder)]
        self._reads = ThreadPoolExecutor(1, thread_name_prefix="flows-reader")
        self._watch = Watch(watched)
        self._checkpointer = Checkpointer(checked, self._path, self._turns[1])
        self._writer = Writer(
            writes,
            self._path,
            self._turns[0],
            appended=self._watch.appended,
            wrote=self._checkpointer.wrote,
        )
        self._maintainer = Maintainer(maintained, self._path, self._writer, self._clock, self._maintenance)
        self._keeper = Keeper(leased, self.folder / LEASES.file, self._clock)
        self._process = os.getpid()

    async def close(self) -> None:
        """Finish what is queued, leave all groups, and give the files back; does nothing the second time."""
        if self._process != os.getpid():
            return
        self._process = None
        self._watch.wake_all()
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._maintainer.close()
        self._keeper.close()
        self._writer.close()
        self._watch.close()
        self._checkpointer.close()
        self._reads.shutdown()
        self._release()

    def _release(self) -> None:
        while self._turns:
            self._turns.pop().close()
        while self._connections:
            self._connections.pop().close()

    async def maintain(self) -> None:
        """Drop what is past its retention or purged, compact every compacted topic, shrink the file: now."""
        self._check("maintain the topics")
        await asyncio.to_thread(self._maintainer.round_by_hand)

    async def create_topic(self, spec: TopicSpec) -> None:
        """Create the topic unless it exists; raises `TopicMismatch` when it exists with other settings."""
        await self._write(f"create topic {spec.name!r}", lambda scope: topics.create(scope.connection, spec))

    async def topics(self) -> dict[str, TopicSpec]:
        """Return all topics by name."""
        return await self._read("list topics", topics.listing)

    async def topic_ids(self, names: Iterable[str]) -> dict[str, str]:
        """Return what tells each topic from another one of the same name; unknown names are left out."""
        wanted = list(names)
        return await self._read("read the topics' identities", lambda db: topics.identities(db, wanted))

    async def alter_retention(self, name: str, seconds: float | None) -> None:
        """Keep a topic's records for so many seconds, None for ever; raises `UnknownTopic`, `BrokerError`."""
        await self._write(
            f"alter topic {name!r}", lambda scope: topics.alter_retention(scope.connection, name, seconds)
        )
        self._maintainer.nudge()

    async def delete_topic(self, name: str) -> None:
        """Remove a topic with its records and positions; unknown names raise `UnknownTopic`."""
        await self._write(f"delete topic {name!r}", lambda scope: topics.delete(scope.connection, name))
        self._maintainer.nudge()

    async def start_offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the first offset that each partition still holds."""
        wanted = list(tps)
        found = await self._read("read offsets", lambda db: log.offsets(db, wanted))
        return {tp: low for tp, (low, _) in found.items()}

    async def end_offsets(self, tps: Iterable[TopicPartition], *, written: bool = False) -> dict[TopicPartition, int]:
        """Return the position after the last committed record of each partition."""
        wanted = list(tps)
        found = await self._read("read offsets", lambda db: log.offsets(db, wanted))
        return {tp: high for tp, (_, high) in found.items()}

    def reader(self, positions: Mapping[TopicPartition, int]) -> EmbeddedReader:
        """Open a reader at these positions."""
        self._check("open a reader")
        return EmbeddedReader(positions, self._read, self._watch)

    async def produce(self, outputs: Mapping[TopicPartition, Outgoing]) -> dict[TopicPartition, int]:
        """Append records durably and atomically, outside of any task; return the end offsets."""
        appends = self._encode(outputs)
        now = self._clock.now()
        return await self._write("append records", lambda scope: producer.append_all(scope, appends, now))

    async def producer(
        self, transactional_id: str, *, group: str = "", inputs: Iterable[TopicPartition] = ()
    ) -> EmbeddedProducer:
        """Take over a transactional id: earlier holders are fenced from this moment."""
        epoch = await self._write(
            f"take over producer {transactional_id!r}",
            lambda scope: producer.take_over(scope.connection, transactional_id),
        )
        return EmbeddedProducer(transactional_id, epoch, self._write, self._encode, self._clock.now)

    async def appender(self, transactional_id: str, *, group: str = "") -> EmbeddedProducer:
        """Take over a transactional id as `producer` does; its commits are atomic all the same."""
        return await self.producer(transactional_id)

    async def committed(
        self, group: str, tps: Iterable[TopicPartition], *, stable: bool = True
    ) -> dict[TopicPartition, Committed]:
        """Return the group's positions; partitions without one are left out."""
        wanted = list(tps)
        return await self._read("read positions", lambda db: producer.load_positions(db, group, wanted))

    async def delete_offsets(self, group: str) -> None:
        """Forget all positions of a group."""
        await self._write(
            f"delete the positions of group {group!r}",
            lambda scope: producer.delete_positions(scope.connection, group),
        )

    async def purge(self, before: Mapping[TopicPartition, int]) -> None:
        """Drop records below these offsets: reads below fail from now on."""
        wanted = dict(before)

        def work(scope: Scope) -> bool:
            partitions = [log.purge(scope.connection, tp, offset) for tp, offset in wanted.items()]
            return retain.sweep(partitions, scope)

        if await self._write("purge records", work):
            self._maintainer.nudge()

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
    ) -> EmbeddedMembership:
        """Join a group whose members share `tasks`. Members of another `plan` wait until the old have left."""
        self._check(f"join group {group!r}")
        return await join_group(self._keeper, group, member_id, tasks, address=address, plan=plan, lease=self._lease)

    async def group_members(self, group: str) -> list[Member]:
        """Return the live members of a group without joining it."""
        self._check(f"list the members of group {group!r}")
        return await group_members(self._keeper, group)

    def _encode(self, outputs: Mapping[TopicPartition, Outgoing]) -> list[Append]:
        appends = [encode_append(tp, out, self.max_record_bytes) for tp, out in outputs.items() if out]
        if appends:
            self._space.check(sum(len(blob) for append in appends for _, blob in append.parts))
        return appends

    async def _write(self, doing: str, work: Callable[[Scope], T]) -> T:
        self._check(doing)
        return await self._writer.run(doing, work)

    async def _read(self, doing: str, work: Callable[[sqlite3.Connection], T]) -> T:
        self._check(doing)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reads, work, self._read_db)
        except sqlite3.Error as error:
            raise database_fault(error, self._path, doing) from error

    def _check(self, doing: str) -> None:
        if self._process == os.getpid():
            return
        if self._process is None:
            raise BrokerError(f"cannot {doing}: the broker is not started, or is closed", fix="await start() first")
        raise BrokerError(
            f"cannot {doing}: the broker was opened before a fork", fix="open a broker of its own in each process"
        )
