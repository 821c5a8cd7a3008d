"""What the web server is told of topics: their records, and the dead letters with what became of them.

Only topics of the app are told of: those that it declares and those that it keeps for itself.
"""

from __future__ import annotations

import builtins
from typing import Any, Protocol

import msgspec


class PartitionOffsets(msgspec.Struct, frozen=True, kw_only=True):
    """A partition: the offset of the oldest record that is kept, and that after the newest."""

    partition: int
    start: int
    end: int


class TopicAbout(msgspec.Struct, frozen=True, kw_only=True):
    """A topic of the app.

    `kind` is "declared", "dead-letters", "late" or "internal". `records` is counted by offsets: some may be gone by
    compaction, or be ends of transactions. `retention` is in seconds, None for ever. `value`, `codec`, `key` and
    `timestamp` are as declared, None for topics that are not.
    """

    name: str
    kind: str
    partitions: tuple[PartitionOffsets, ...]
    records: int
    cleanup: str
    retention: float | None
    value: str | None = None
    codec: str | None = None
    key: str | None = None
    timestamp: str | None = None


class TopicRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record as people read it.

    `timestamp` is in seconds since the epoch. The value is its JSON where it is some, or that of its codec; other bytes
    are text, or hexadecimal behind 0x. `size` is that of key and value in bytes. A value that is longer than lists show
    is `cut`: the beginning of its text. `headers` are names and contents in their order.
    """

    partition: int
    offset: int
    timestamp: float
    key: str | None
    value: Any
    headers: tuple[tuple[str, str | None], ...] = ()
    size: int = 0
    cut: bool = False


class WholeRecord(TopicRecord, frozen=True, kw_only=True):
    """A record with its bytes as they are, in base64; None where there are none."""

    topic: str
    raw_key: str | None
    raw_value: str | None


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which records are wanted: those that contain each of these texts, in the key, the value, a header."""

    key: str | None = None
    value: str | None = None
    header: str | None = None


class From(msgspec.Struct, frozen=True, kw_only=True):
    """Where to begin: at a `place`, "oldest" or "newest", at a time in seconds, or at offsets by partition.

    With `partition` only that one is read, with `positions` those that are named there.
    """

    place: str = "newest"
    partition: int | None = None
    time: float | None = None
    positions: dict[int, int] | None = None


class RecordsFound(msgspec.Struct, frozen=True, kw_only=True):
    """Records in order of time; `scanned` of them were looked at.

    `next` is where to go on, as `PARTITION:OFFSET` with commas between; `ended` is true where that is the end of all
    partitions. `skipped` counts offsets that were asked for and that retention has dropped.
    """

    topic: str
    records: list[TopicRecord]
    scanned: int
    next: str
    ended: bool
    skipped: int = 0


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A refused record: its offset among the dead letters, when and why it was refused, by which step, and its origin.

    The key, the value and the headers are those of the original record, and so is `original_timestamp`. `truncated`
    tells that the value was too large to be kept whole; such a letter cannot be driven again.
    """

    offset: int
    at: float
    reason: str
    step: str
    topic: str
    partition: int
    original_offset: int
    original_timestamp: float
    key: str | None
    value: Any
    headers: tuple[tuple[str, str | None], ...] = ()
    cut: bool = False
    truncated: bool = False
    redriven: bool = False


class LettersFound(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters, newest first.

    `total` is how many there are in all, `redriven` how many of them were driven again. `before` is where to go on
    towards older ones, None at the end.
    """

    letters: list[DeadLetter]
    total: int
    redriven: int
    before: int | None


class LetterFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters: of a step, a topic, with a reason that contains a text; `waiting`: not yet driven again."""

    step: str | None = None
    topic: str | None = None
    reason: str | None = None
    waiting: bool = False


class Left(msgspec.Struct, frozen=True):
    """A dead letter that was not driven again, and why."""

    offset: int
    reason: str


class Redriven(msgspec.Struct, frozen=True, kw_only=True):
    """How many dead letters went back to their topics, how many had before, and those that could not."""

    redriven: int
    before: int = 0
    left: list[Left] = []


class TopicFeed(Protocol):
    """One visitor's way along a topic: `positions` behind what was taken, `skipped` offsets that were gone."""

    positions: str
    skipped: int

    async def take(self, patience: float) -> list[TopicRecord]:
        """Return the next wanted records; an empty list where there were none, after `patience` seconds at most."""

    async def close(self) -> None: ...


class Topics(Protocol):
    """The topics of the app. Unknown names and partitions raise `KeyError`; all raise `FlowsError`."""

    async def list(self) -> builtins.list[TopicAbout]:
        """Describe all topics, by name."""

    async def read(self, topic: str, start: From, wanted: Filter, limit: int) -> RecordsFound:
        """Return at most `limit` records that are wanted; not more than a bounded number is looked at."""

    async def record(self, topic: str, partition: int, offset: int) -> WholeRecord | None:
        """Return one record; None where there is none at this offset (any more)."""

    async def follow(self, topic: str, start: From, wanted: Filter) -> TopicFeed:
        """Read records as they come; from the newest on means those that come from now on."""

    async def letters(self, wanted: LetterFilter, before: int | None, limit: int) -> LettersFound:
        """Return dead letters, newest first, with offsets below `before`."""

    async def redrive(self, offsets: builtins.list[int]) -> Redriven:
        """Write the original records of dead letters to their topics again; each letter once."""

    async def redrive_all(self, wanted: LetterFilter, until: int) -> Redriven:
        """Do so with all wanted letters whose offsets are below `until`."""
