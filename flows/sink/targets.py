"""Where each record of a stream goes: its topic by a value or by a function, its partition by a rule.

A target is bound to each batch, since an expression is computed for all of its rows at once; what is bound tells, row
by row, or raises `Unroutable`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import polars as pl

from dsl.topic import Topic
from flows.brokers.base import Headers
from flows.errors import Unroutable
from flows.route.base import checked_partition, chosen_partition


class Encode(Protocol):
    """The encoder of a topic."""

    topic: str
    partitions: int
    key_field: str | None

    def encode(
        self,
        value: Any,
        key: Any = None,
        timestamp: float | None = None,
        partition: int | None = None,
        headers: dict[str, bytes] | None = None,
    ) -> tuple[str, int, bytes | None, bytes | None, int, Headers]: ...


TopicOf = Callable[[int, Any], Encode]
"""The topic of a row: its place in the frame, and its object."""

PartitionIn = Callable[[int, Any, Encode], int | None]
"""The partition of a row in a topic; None: that of its key."""


def one_topic(encoder: Encode) -> Callable[[pl.DataFrame], TopicOf]:
    """Send all to one topic."""
    return lambda frame: lambda place, value: encoder


def topic_by_value(by: pl.Expr, shown: str, cases: Mapping[Any, Encode]) -> Callable[[pl.DataFrame], TopicOf]:
    """Send each row to the topic that is declared for the value of an expression."""

    def bind(frame: pl.DataFrame) -> TopicOf:
        found = _column(frame, by)

        def topic_of(place: int, _: Any) -> Encode:
            try:
                return cases[found[place]]
            except KeyError:
                known = ", ".join(map(repr, cases))
                raise Unroutable(f"{shown} is {found[place]!r}, for which no topic is declared: only {known}") from None

        return topic_of

    return bind


def topic_by_function(choose: TopicChoice, encoders: Mapping[str, Encode]) -> Callable[[pl.DataFrame], TopicOf]:
    """Send each row to the topic that a function returns."""
    return lambda frame: lambda place, value: encoders[choose(value)]


class TopicChoice:
    """A person's function that returns one of some topics."""

    def __init__(self, name: str, function: Callable[[Any], Any], topics: tuple[str, ...]) -> None:
        self._name, self._function, self._topics = name, function, topics

    def __call__(self, value: Any) -> str:
        """Return the name of a value's topic. Raises `Unroutable` where the function fails or returns another."""
        try:
            found = self._function(value)
        except Exception as error:
            raise Unroutable(f"{self._name} raised {type(error).__name__}: {error}") from error
        if not isinstance(found, Topic) or found.name not in self._topics:
            shown = f"topic {found.name!r}" if isinstance(found, Topic) else repr(found)
            raise Unroutable(f"{self._name} returned {shown}, expected a topic among {', '.join(self._topics)}")
        return found.name


def partition_of_key(frame: pl.DataFrame) -> PartitionIn:
    """Leave the partition to the topic's own partitioner."""
    return lambda place, value, topic: None


def partition_by_value(by: pl.Expr, shown: str) -> Callable[[pl.DataFrame], PartitionIn]:
    """Send each row to the partition that an expression computes."""

    def bind(frame: pl.DataFrame) -> PartitionIn:
        found = _column(frame, by)
        return lambda place, value, topic: checked_partition(shown, topic.partitions, found[place])

    return bind


def partition_by_function(name: str, function: Callable[[Any, int], int]) -> Callable[[pl.DataFrame], PartitionIn]:
    """Send each row to the partition that a function of its object returns."""
    return lambda frame: lambda place, value, topic: chosen_partition(name, topic.partitions, function, value)


def _column(frame: pl.DataFrame, expr: pl.Expr) -> list[Any]:
    return frame.with_columns(expr.alias("$target"))["$target"].to_list()
