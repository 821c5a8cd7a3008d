"""What reading needs of the rooms before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from flows.brokers.base import Records, TopicPartition
from flows.operate.base import Batch, DeadLetters, Times
from flows.source.watermarks import Watermark


class Decoder(Protocol):
    """Bytes to values."""

    def decode(self, records: Records, dead: DeadLetters) -> tuple[Records, Sequence[Any]]: ...


class KeyCheck(Protocol):
    """The check that the message key is the declared field."""

    def wrong_rows(self, records: Records, objects: Sequence[Any], dead: DeadLetters) -> list[int]: ...


class PlaceCheck(Protocol):
    """The check that records lie in the partition that their key says."""

    def check(self, records: Records) -> None: ...


class TimeReader(Protocol):
    """Event times of decoded records."""

    def read(self, records: Records, objects: Sequence[Any], dead: DeadLetters) -> tuple[Times, list[int]]: ...


class Source(Protocol):
    """One input partition of a task. `producers` is the number of upstream tasks of an internal topic, else 0."""

    tp: TopicPartition
    watermark: Watermark
    producers: int

    def read(self, records: Records, wants_frame: bool) -> Batch: ...

    def pass_over(self, records: Records) -> tuple[Records, Times, Times]:
        """Return records that are not read, without those that are refused, their times, and the stream times."""

    def peek_times(self, records: Records) -> Times: ...
