"""Each left record joined with one right record: the last before it, the first after it, or the nearest.

A left record waits until no other can come that would be picked, and picks then; so what came first does not matter. Or
it picks at once of what is there (`at_once`).
"""

from __future__ import annotations

from typing import Any

from flows.operate.joins.sides import Kept
from flows.operate.joins.stream_join import Row, StreamJoin


class AsofJoin(StreamJoin):
    """One such join in one task."""

    def __init__(self, *args: Any, picks: str, at_once: bool, **options: Any) -> None:
        super().__init__(*args, **options)
        self._picks, self._at_once = picks, at_once

    def _join(
        self, side: int, key: bytes, time: int, origin: tuple[int, int], row: Row, end: int, now: int, due: int
    ) -> None:
        if side == 0 and self._at_once:
            self._pick(key, time, row, now, due)
        else:
            self._rows.put(side, key, time, origin, row, end, side == 0)

    def _end(self, side: int, kept: Kept, now: int, due: int) -> None:
        self._pick(kept.group, kept.time, kept.row, now, due)

    def _pick(self, key: bytes, time: int, row: Row, now: int, due: int) -> None:
        own = self._sides[0]
        found = self._rows.within(1, key, time - own.back, time + own.ahead)
        if found:
            match = _picked(self._picks, found, time)
            self._add(0, row, match.row, max(time, match.time), now, due)
        elif own.is_kept:
            self._add(0, row, None, time, now, due)


def _picked(picks: str, found: list[Kept], time: int) -> Kept:
    """Pick of records in the order of time; of those of one time the last."""
    if picks == "last":
        return found[-1]
    if picks == "first":
        return [kept for kept in found if kept.time == found[0].time][-1]
    nearest = min(found, key=lambda kept: (abs(kept.time - time), kept.time))
    return [kept for kept in found if kept.time == nearest.time][-1]
