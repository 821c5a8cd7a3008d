"""Naive sliding windows: all windows that any records begin, each with all records that it was open for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.oracle.aggregates import Event
from tests.oracle.tables import Group, Late, TableOracle


class Sliding(NamedTuple):
    """How far apart records may be, in microseconds."""

    difference: int
    grace: int = 0
    retention: int | None = None
    closes: bool = False


class SlidingOracle(TableOracle):
    """What a table of sliding windows must show after a history."""

    def __init__(
        self,
        keys: Sequence[str],
        sliding: Sliding,
        aggregates: Mapping[str, Callable[[Sequence[Event]], Any]],
        keep: Callable[[dict[str, Any]], bool] = lambda fields: True,
    ) -> None:
        super().__init__(keys, sliding, aggregates, keep)
        self._rule = sliding
        self._seen: dict[tuple[Any, ...], list[tuple[Event, int]]] = defaultdict(list)

    def _put_into_windows(self, key: tuple[Any, ...], event: Event, now: int, windows: Any) -> None:
        if event.time + self._rule.grace < now:
            self.late.append(Late(event.values, event.time, (event.time - self._rule.difference,)))
        if event.time + self._rule.difference + self._rule.grace >= now:
            self._seen[key].append((event, now))

    def _found(self, *, expired: bool) -> dict[Group, dict[str, Any]]:
        rule, found = self._rule, {}
        for key, seen in self._seen.items():
            here = self.stream_time[seen[0][0].partition]
            begins = [(s, now) for event, now in seen for s in (event.time - rule.difference, event.time + 1)]
            for start in {s for s, now in begins if s + rule.difference + rule.grace >= now}:
                end = start + rule.difference
                held = [e for e, now in seen if start <= e.time <= end and end + rule.grace >= now]
                if not held or (rule.closes and end + rule.grace >= here):
                    continue
                if expired or rule.retention is None or end + rule.retention >= here:
                    results = {name: compute(held) for name, compute in self.aggregates.items()}
                    found[Group(key, start, end)] = results
        return found

    def rows(self) -> dict[Group, dict[str, Any]]:
        """Return the rows that readers see."""
        return self._found(expired=False)

    def every_row(self) -> dict[Group, dict[str, Any]]:
        """Return all rows that were ever shown, in their last form."""
        return self._found(expired=True)
