"""Records for topics on their way to the commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from flows.brokers.base import Headers, Outgoing, TopicPartition


class Outbox:
    """Gather a task's outputs by partition until its next commit.

    `wake` is called at each record that is added, where they need not wait that long. `counts` gets how many there
    were, by topic.
    """

    def __init__(self, counts: Counter[str] | None = None) -> None:
        self.wake: Callable[[], None] | None = None
        self._counts: Counter[str] = Counter() if counts is None else counts
        self._out: dict[TopicPartition, Outgoing] = {}

    def append(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, timestamp: int, headers: Headers = ()
    ) -> None:
        """Add one record."""
        self.of(TopicPartition(topic, partition)).append(key, value, timestamp, headers)
        if self.wake is not None:
            self.wake()

    def of(self, tp: TopicPartition) -> Outgoing:
        """Return what waits for a partition, to add to it in bulk."""
        found = self._out.get(tp)
        if found is None:
            found = self._out[tp] = Outgoing()
        return found

    def take(self) -> dict[TopicPartition, Outgoing]:
        """Hand over all and begin anew."""
        out, self._out = self._out, {}
        for tp, records in out.items():
            self._counts[tp.topic] += len(records)
        return out

    def __len__(self) -> int:
        return sum(map(len, self._out.values()))
