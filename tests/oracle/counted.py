"""Naive count windows: the records of a key in their order, cut into lists of n."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.oracle.aggregates import Event
from tests.oracle.tables import Group, TableOracle


class Counted(NamedTuple):
    """How many records make a window; retention in microseconds."""

    records: int
    retention: int | None = None
    closes: bool = False


class CountOracle(TableOracle):
    """What a table of count windows must show after a history; rows also by their number, `$number`."""

    def __init__(
        self,
        keys: Sequence[str],
        counted: Counted,
        aggregates: Mapping[str, Callable[[Sequence[Event]], Any]],
    ) -> None:
        super().__init__(keys, counted, aggregates)
        self._rule = counted
        self._seen: dict[tuple[Any, ...], list[Event]] = defaultdict(list)

    def _put_into_windows(self, key: tuple[Any, ...], event: Event, now: int, windows: Any) -> None:
        self._seen[key].append(event)

    def numbered(self) -> dict[tuple[tuple[Any, ...], int], tuple[Group, dict[str, Any]]]:
        """Return the rows that readers see, by key and number."""
        found = {}
        for key, events in self._seen.items():
            now = self.stream_time[events[0].partition]
            for number in range(-(-len(events) // self._rule.records)):
                held = events[number * self._rule.records :][: self._rule.records]
                end, is_complete = max(e.time for e in held), len(held) == self._rule.records
                over = self._rule.retention is not None and end + self._rule.retention <= now
                if (is_complete or not self._rule.closes) and not (is_complete and over):
                    results = {name: compute(held) for name, compute in self.aggregates.items()}
                    found[key, number] = Group(key, held[0].time, end), results
        return found
