"""The watch over the partitions of a group's inputs: a topic that grows stops the app."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from flows.brokers.kafka.cluster import Cluster
from flows.brokers.kafka.faults import Lost, Refused
from flows.errors import TopicMismatch

EVERY = 5.0
"""Seconds between looks. Producers find new partitions within minutes, and records in them are read by nobody."""


async def watch_inputs(cluster: Cluster, tasks: Mapping[str, Iterable[tuple[str, int]]], every: float = EVERY) -> None:
    """Look until a topic has more partitions than the tasks read: then raise `TopicMismatch`.

    A key would be in another partition than before, and so in another task than its state (CORRECTNESS.md 16).
    """
    declared: dict[str, int] = {}
    for topic, partition in (found for inputs in tasks.values() for found in inputs):
        declared[topic] = max(declared.get(topic, 0), partition + 1)
    while declared:
        try:
            await cluster.refresh(declared)
            for topic, partitions in declared.items():
                compare(topic, partitions, len((await cluster.topic(topic)).leaders))
        except (Lost, Refused):
            pass  # the readers of these topics tell of it; here it is only looked at again
        await asyncio.sleep(every)


def compare(topic: str, declared: int, found: int) -> None:
    """Raise `TopicMismatch` when there are more partitions than were declared."""
    if found > declared:
        raise TopicMismatch(
            f"topic {topic!r} has {found} partitions now, and the tasks read {declared}: keys would be in other "
            "partitions than their state",
            fix="declare the new number of partitions and reset the app, or copy the records into a topic that has it",
        )
