"""How long records take: a histogram of log-linear buckets, filled by numpy, added up over tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

SAMPLE = 128
"""Of a larger chunk this many records are looked at, evenly spread; each stands for those up to the next."""

_DECADES = range(7)
_STEPS = [*range(102, 202, 2), *range(205, 505, 5), *range(510, 1010, 10)]
"""Hundredths of a decade's beginning: no bucket is wider than 2.5 % of its value, and 1, 2 and 5 are bounds."""

BOUNDS = np.array([1.0, *(step * 10.0**decade / 100 for decade in _DECADES for step in _STEPS)])
"""The upper bounds of the buckets in milliseconds, themselves included, from 1 ms to 2.8 hours."""


TOLD_BOUNDS = tuple(step * 10.0**e for e in range(-3, 4) for step in (1.0, 2.0, 5.0))
"""Seconds, from 1 ms to 5,000 s, by which histograms are told: all are bounds of the finer buckets."""


_LATER = 1 << 40
"""A time in milliseconds before which all durations began, as far as histograms care."""
_WIDE_STEPS = [112, 126, 140, 160, 180, 200, 225, 250, 280, 315, 355, 400, 450, 500, 560, 630, 710, 800, 900, 1000]
DRAWN_BOUNDS = np.array([1.0, *(step * 10.0**decade / 100 for decade in _DECADES for step in _WIDE_STEPS)])
"""Bounds of buckets in milliseconds, twenty a decade, as a picture needs them."""


class Marks:
    """When records of a topic came to be, in milliseconds since the epoch: of some, which stand for all.

    >>> marks = Marks([1000, 1001, 1002])
    >>> marks.times.tolist(), marks.weights.tolist()
    ([1000, 1001, 1002], [1, 1, 1])
    """

    __slots__ = ("times", "weights")

    def __init__(self, timestamps: Sequence[int]) -> None:
        count = len(timestamps)
        stride = max(1, -(-count // SAMPLE))
        self.times: Ints = np.array(timestamps[::stride], dtype=np.int64)
        self.weights: Ints = np.full(len(self.times), stride, dtype=np.int64)
        if count:
            self.weights[-1] = count - stride * (len(self.times) - 1)


class Latencies:
    """Seconds by how many records took them.

    >>> found = Latencies()
    >>> found.add(Marks([1_000, 1_900]), now=2.0)
    >>> found.count, round(found.quantile(0.5), 3), round(found.quantile(0.99), 3)
    (2, 0.1, 1.0)
    """

    __slots__ = ("counts", "longest", "total")

    def __init__(self) -> None:
        self.counts: Ints = np.zeros(len(BOUNDS) + 1, dtype=np.int64)
        self.total = 0.0
        self.longest = 0.0

    def add(self, marks: Marks, now: float) -> None:
        """Count records that are done now, in seconds since the epoch.

        One without a time (Kafka's -1) is left out; one from the future, by a clock that goes wrong, took no time.
        """
        known = marks.times >= 0
        times, weights = (marks.times, marks.weights) if known.all() else (marks.times[known], marks.weights[known])
        if not len(times):
            return
        took = np.maximum(now * 1000.0 - times, 0.0)
        np.add.at(self.counts, np.searchsorted(BOUNDS, took), weights)
        self.total += float(took @ weights) / 1000.0
        self.longest = max(self.longest, float(took.max()) / 1000.0)

    @property
    def count(self) -> int:
        """The number of records."""
        return int(self.counts.sum())

    def quantile(self, q: float) -> float:
        """Return the seconds that a share `q` of the records took at most, rounded up by 2.5 %; NaN of none."""
        reached = np.cumsum(self.counts)
        if not reached[-1]:
            return math.nan
        at = int(np.searchsorted(reached, max(1, math.ceil(q * int(reached[-1])))))
        return min(float(BOUNDS[at]) / 1000.0, self.longest) if at < len(BOUNDS) else self.longest

    def up_to(self, bounds: Sequence[float]) -> list[int]:
        """Return how many records took at most these seconds, each of which must be a bound of a bucket."""
        reached = np.cumsum(self.counts)
        places = np.searchsorted(BOUNDS, np.array(bounds) * 1000.0 * (1 - 1e-9))
        return [int(n) for n in reached[places]]

    def picture(self) -> tuple[tuple[float, int], ...]:
        """Return (upper bound in seconds, records) of the buckets of a picture that have some.

        >>> found = Latencies()
        >>> found.add(Marks([1_000, 1_990]), now=2.0)
        >>> found.picture()
        ((0.01, 1), (1.0, 1))
        """
        places = np.searchsorted(BOUNDS, DRAWN_BOUNDS * (1 - 1e-9))
        found = np.diff(np.cumsum(self.counts)[places], prepend=0)
        beyond = self.count - int(found.sum())
        told = [(float(DRAWN_BOUNDS[at]) / 1000.0, int(found[at])) for at in np.flatnonzero(found)]
        return (*told, (self.longest, beyond)) if beyond else tuple(told)

    def __iadd__(self, other: Latencies) -> Self:
        self.counts += other.counts
        self.total += other.total
        self.longest = max(self.longest, other.longest)
        return self

    def since(self, before: Latencies) -> Latencies:
        """Return what came after an earlier state of the same counts; `longest` stays that of all."""
        found = Latencies()
        found.counts = self.counts - before.counts
        found.total, found.longest = self.total - before.total, self.longest
        return found


class Durations:
    """Seconds that something took, which are counted some at a time: numpy takes as long for so many as for one.

    >>> took = Durations()
    >>> took.add(0.25)
    >>> took.all().count, took.all().quantile(0.5)
    (1, 0.25)
    """

    __slots__ = ("_counted", "_waiting")

    def __init__(self) -> None:
        self._counted = Latencies()
        self._waiting: list[int] = []

    def add(self, seconds: float) -> None:
        """Count one."""
        self._waiting.append(round(seconds * 1000))
        if len(self._waiting) == SAMPLE:
            self._gather()

    def all(self) -> Latencies:
        """Return all that were counted."""
        self._gather()
        return self._counted

    def _gather(self) -> None:
        waits, self._waiting = self._waiting, []
        self._counted.add(Marks([_LATER - max(0, wait) for wait in waits]), _LATER / 1000)
