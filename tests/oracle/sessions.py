"""Naive sessions: each record looks at all records before it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.oracle.aggregates import Event
from tests.oracle.tables import Group, Late, TableOracle


class Sessions(NamedTuple):
    """How records are put together, in microseconds."""

    gap: int
    grace: int = 0
    retention: int | None = None
    closes: bool = False


class SessionOracle(TableOracle):
    """What a table of sessions must show after a history."""

    def __init__(
        self,
        keys: Sequence[str],
        sessions: Sessions,
        aggregates: Mapping[str, Callable[[Sequence[Event]], Any]],
        keep: Callable[[dict[str, Any]], bool] = lambda fields: True,
    ) -> None:
        super().__init__(keys, sessions, aggregates, keep)
        self._rule = sessions
        self._sessions: dict[tuple[Any, ...], list[list[Event]]] = defaultdict(list)

    def _put_into_windows(self, key: tuple[Any, ...], event: Event, now: int, windows: Any) -> None:
        mine = self._sessions[key]
        near = [s for s in mine if not self._over(s, now, windows.grace) and self._is_near(s, event)]
        merged = [event, *(e for s in near for e in s)]
        if self._over(merged, now, windows.grace):
            self.late.append(Late(event.values, event.time, (event.time,)))
            return
        self._sessions[key] = [*(s for s in mine if s not in near), merged]

    def _is_near(self, session: list[Event], event: Event) -> bool:
        return any(abs(e.time - event.time) <= self._rule.gap for e in session)

    def _over(self, session: list[Event], now: int, after: int) -> bool:
        return max(e.time for e in session) + self._rule.gap + after < now

    def _found(self, *, expired: bool) -> dict[Group, dict[str, Any]]:
        found = {}
        for key, sessions in self._sessions.items():
            for session in sessions:
                now = self.stream_time[session[0].partition]
                if self._rule.closes and not self._over(session, now, self._rule.grace):
                    continue
                keep = self._rule.retention
                if expired or keep is None or not self._over(session, now, keep):
                    times = [e.time for e in session]
                    results = {name: compute(session) for name, compute in self.aggregates.items()}
                    found[Group(key, min(times), max(times))] = results
        return found

    def rows(self) -> dict[Group, dict[str, Any]]:
        """Return the rows that readers see."""
        return self._found(expired=False)

    def every_row(self) -> dict[Group, dict[str, Any]]:
        """Return all rows that were ever shown, in their last form."""
        return self._found(expired=True)
