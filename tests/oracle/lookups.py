"""Joins of a stream with a topic's table, by going through all of the topic's records each time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

BEGINNING = float("-inf")


class Told(NamedTuple):
    """A record of the stream (side 0) or of the table (side 1), where `gone` says that it has no value.

    Then it has no time either, unless that is the record's own (`has_own`) and not a field's.
    """

    side: int
    key: str | None
    n: int
    at: float | None
    gone: bool = False
    has_own: bool = False

    @property
    def head(self) -> float:
        """The time that it is ordered by."""
        return BEGINNING if self.at is None or (self.gone and not self.has_own) else self.at


def in_order_of_time(records: Sequence[Told]) -> list[Told]:
    """Put what two inputs have into the order in which a task takes it: of equal times the table goes first."""
    heads = [[r for r in records if r.side == side] for side in (0, 1)]
    found = []
    while any(heads):
        side = min((s for s in (0, 1) if heads[s]), key=lambda s: (heads[s][0].head, 1 - s))
        found.append(heads[side].pop(0))
    return found


class TableJoin:
    """Each record of the stream with the row of its key: the last that came, or the last by time up to its own."""

    def __init__(self, how: str, history: float | None) -> None:
        self.how, self.history = how, history
        self.rows: list[tuple[str | None, int, int | None]] = []
        self.skipped = 0
        self.refused = 0
        self._now = BEGINNING
        self._versions: list[tuple[str, float, int, int | None]] = []

    def take(self, record: Told) -> None:
        if record.side == 1:
            self._update(record)
            return
        found = None if record.key is None else self._row(record.key, record.at)
        if record.key is None and self.how == "inner":
            self.skipped += 1
        elif found is not None or self.how == "left":
            self.rows.append((record.key, record.n, found))

    def table(self) -> dict[str, int]:
        rows = {key: self._row(key, None) for key, *_ in self._versions}
        return {key: n for key, n in rows.items() if n is not None}

    def _update(self, record: Told) -> None:
        self._now = max(self._now, record.head)
        no_time = self.history is not None and record.at is None and not record.gone
        if record.key is None or no_time:
            self.refused += 1
            return
        time = self._now if record.gone and not record.has_own else record.head
        self._versions.append((record.key, time, len(self._versions), None if record.gone else record.n))

    def _row(self, key: str, at: float | None) -> int | None:
        mine = [v[1:] for v in self._versions if v[0] == key]
        if self.history is None:
            return mine[-1][-1] if mine else None
        upto = float("inf") if at is None else max(at, self._now - self.history)
        return max((v for v in mine if v[0] <= upto), default=(0.0, 0, None), key=lambda v: v[:2])[-1]
