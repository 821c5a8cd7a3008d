"""What a task needs of its local store: ordered tables of bytes, one atomic write, snapshots.

One store a task; it only ever holds committed rows, with the changelog positions they stand for. Two
implementations (`rocks`, `memory`), one contract suite.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from flows.brokers.base import Reader, TopicPartition

OPEN = b"\xc1"
"""First byte of values that readers do not see yet: those of windows that wait for their end. Never used by msgpack."""

Rows = Iterator[tuple[bytes, bytes]]


class StoreWrite(msgspec.Struct, kw_only=True):
    """One atomic change: per table the puts (None deletes) and ranges to drop, and the new positions.

    `ranges` are half-open `[start, end)` and apply before the puts. `positions` maps a table to the next
    changelog offset to replay.
    """

    puts: dict[str, dict[bytes, bytes | None]] = {}
    ranges: dict[str, list[tuple[bytes, bytes]]] = {}
    positions: dict[str, int] = {}


class StoreSnapshot(Protocol):
    """A view of all tables at one moment; may be read from any thread until closed."""

    def scan(self, table: str, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False) -> Rows:
        """Iterate `[start, end)` in key order; with `reverse` from the end down."""

    def get_many(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]: ...

    def close(self) -> None: ...


class Store(Protocol):
    """A task's tables. Calls block; the engine makes long ones from a thread."""

    def tables(self) -> set[str]:
        """Return the names of the tables that exist."""

    def create_table(self, name: str) -> None:
        """Add an empty table; does nothing where it exists."""

    def drop_table(self, name: str) -> None:
        """Remove a table with its rows, position and metadata."""

    def get_many(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values in the order of the keys, None where a key is missing."""

    def scan(self, table: str, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False) -> Rows:
        """Iterate `[start, end)` in key order; with `reverse` from the end down."""

    def write(self, change: StoreWrite) -> None:
        """Apply all of it or nothing, durably enough that a crash leaves a prefix of the writes."""

    def positions(self) -> Mapping[str, int]:
        """Return the changelog position of each table that has one."""

    def last_write(self) -> float | None:
        """Return the wall time of the newest write in seconds, None where nothing was ever written."""

    def metadata(self, table: str) -> bytes | None:
        """Return what `set_metadata` kept for a table (its fingerprint)."""

    def set_metadata(self, items: Iterable[tuple[str, bytes]]) -> None: ...

    def changelog_id(self, table: str) -> str | None:
        """Return the id of the changelog topic that a table's position is of, as `set_changelog_ids` kept it."""

    def set_changelog_ids(self, items: Iterable[tuple[str, str]]) -> None: ...

    def snapshot(self) -> StoreSnapshot: ...

    def size(self) -> int:
        """Return the bytes the store takes, roughly."""

    def flush(self) -> None:
        """Make all writes so far durable on disk."""

    def close(self) -> None: ...


class Logs(Protocol):
    """What is replayed: of a broker, or of a topic whose records are read as rows."""

    async def topic_ids(self, names: Iterable[str]) -> dict[str, str]: ...

    async def start_offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]: ...

    async def end_offsets(
        self, tps: Iterable[TopicPartition], *, written: bool = False
    ) -> dict[TopicPartition, int]: ...

    def reader(self, positions: Mapping[TopicPartition, int]) -> Reader: ...
