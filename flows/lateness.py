"""How late records come: by how much stream time was ahead of those that came too late."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate
from typing import Self

BOUNDS = (1.0, 10.0, 60.0, 600.0, 3600.0, 21_600.0, 86_400.0, 604_800.0, 2_592_000.0)
"""The upper bounds of the buckets in seconds, themselves included, from a second to thirty days."""


class Lateness:
    """Late records by how many seconds stream time was ahead of theirs: the `grace` that would have taken them.

    >>> found = Lateness()
    >>> found.add([0.5, 90.0])
    >>> found.count, found.total, found.up_to_bounds()
    (2, 90.5, [1, 1, 1, 2, 2, 2, 2, 2, 2])
    """

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: Iterable[float]) -> None:
        """Count records."""
        for behind in seconds:
            self.counts[bisect_left(BOUNDS, behind)] += 1
            self.total += behind

    @property
    def count(self) -> int:
        """The number of records."""
        return sum(self.counts)

    def up_to_bounds(self) -> list[int]:
        """Return for each bound how many records were at most that late."""
        return list(accumulate(self.counts[:-1]))

    def __iadd__(self, other: Lateness) -> Self:
        self.counts = [one + two for one, two in zip(self.counts, other.counts, strict=True)]
        self.total += other.total
        return self
