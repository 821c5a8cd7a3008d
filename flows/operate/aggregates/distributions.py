"""The numbers of many groups at once: all of them where they are few, else counts in logarithmic buckets.

Which of the two it is, and everything in it, depends on the set of values alone, so never on the cuts.

As bytes: `values`, doubles, little-endian: all in ascending order, or the smallest and the largest once there are
buckets; `buckets`, varints: the first bucket's number in zigzag and its count, then distance and count of each more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flows.operate.aggregates.arrow import Ints
from flows.operate.aggregates.log_buckets import LogBuckets
from flows.operate.aggregates.ragged import Ragged, unzigzag, zigzag
from flows.operate.aggregates.varints import read_varints, write_varints

FEW = 64
"""The most values that a group keeps as they are."""

Floats = npt.NDArray[np.float64]
_BITS = 32
_MIDDLE = 1 << 31


class Pieces(NamedTuple):
    """Values, bucket counts and bounds that belong together by group number (`…_of`), in any order."""

    values: Floats
    values_of: Ints
    numbers: Ints
    counts: Ints
    numbers_of: Ints
    low: Floats
    high: Floats
    bounds_of: Ints

    @classmethod
    def of_values(cls, values: Floats, groups: Ints) -> Pieces:
        """Take plain values, without NaN."""
        ints, floats = np.empty(0, np.int64), np.empty(0, np.float64)
        return cls(values, groups, ints, ints, ints, floats, floats, ints)

    def joined(self, other: Pieces) -> Pieces:
        """Return the pieces of both."""
        return Pieces(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))

    def united(self, count: int, buckets: LogBuckets) -> Distributions:
        """Put the pieces of each of `count` groups together."""
        totals = np.bincount(self.values_of, minlength=count)
        totals = totals + np.bincount(self.numbers_of, self.counts, minlength=count)
        many = (totals > FEW)[self.values_of]
        values, groups = self.values[~many], self.values_of[~many]
        order = np.lexsort((values, groups))
        small = Ragged.of_rows(values[order], groups[order], count)
        return Distributions(small, *self._buckets(many, count, buckets), *self._bounds(many, count))

    def _bounds(self, many: npt.NDArray[np.bool_], count: int) -> tuple[Floats, Floats]:
        low, high = np.full(count, np.inf), np.full(count, -np.inf)
        for groups, lows, highs in (
            (self.values_of[many], self.values[many], self.values[many]),
            (self.bounds_of, self.low, self.high),
        ):
            np.minimum.at(low, groups, lows)
            np.maximum.at(high, groups, highs)
        return low, high

    def _buckets(self, many: npt.NDArray[np.bool_], count: int, buckets: LogBuckets) -> tuple[Ragged, Ragged]:
        keys = _key(self.numbers_of, self.numbers)
        counts = self.counts
        if many.any():
            added = _key(self.values_of[many], buckets.number(self.values[many]))
            keys, counts = np.concatenate([keys, added]), np.concatenate([counts, np.ones(len(added), np.int64)])
        keys, counts = _add_up(keys, counts)
        numbers = Ragged.of_rows((keys & ((1 << _BITS) - 1)) - _MIDDLE, keys >> _BITS, count)
        return numbers, Ragged(counts, numbers.lengths)


class Distributions(NamedTuple):
    """One row a group: `values` of the small ones, `numbers`, `counts`, `low` and `high` of those with buckets."""

    values: Ragged
    numbers: Ragged
    counts: Ragged
    low: Floats
    high: Floats

    @property
    def totals(self) -> Ints:
        """The number of values of each group."""
        totals: Ints = self.values.lengths + self.counts.sums()
        return totals

    def pieces(self, groups: Ints) -> Pieces:
        """Take the rows apart; row i belongs to group `groups[i]`."""
        values, numbers, counts, low, high = self
        values_of, numbers_of = values.spread(groups), numbers.spread(groups)
        return Pieces(values.values, values_of, numbers.values, counts.values, numbers_of, low, high, groups)

    def to_blobs(self) -> tuple[list[bytes], list[bytes]]:
        """Return `values` and `buckets` of each row, as described above."""
        bucketed = np.flatnonzero(self.numbers.lengths)
        rows = np.concatenate([self.values.rows, bucketed, bucketed])
        values = np.concatenate([self.values.values, self.low[bucketed], self.high[bucketed]])
        order = np.argsort(rows, kind="stable")
        kept = Ragged.of_rows(values[order], rows[order], len(self.low))
        steps, starts = self.numbers.steps(), self.numbers.starts[bucketed]
        pairs = np.empty(2 * len(steps), np.uint64)
        pairs[0::2], pairs[1::2] = steps.view(np.uint64), self.counts.values.view(np.uint64)
        pairs[2 * starts] = zigzag(steps[starts])
        return kept.to_blobs(), write_varints(Ragged(pairs, 2 * self.numbers.lengths))

    @classmethod
    def of_blobs(cls, values: Sequence[bytes], buckets: Sequence[bytes]) -> Distributions:
        """Read what `to_blobs` wrote."""
        kept, pairs = Ragged.of_blobs(values, "<f8"), read_varints(buckets)
        lengths = pairs.lengths // 2
        bucketed = lengths > 0
        starts = (np.cumsum(lengths) - lengths)[bucketed]
        steps, counts = pairs.values[0::2].astype(np.int64), pairs.values[1::2].astype(np.int64)
        steps[starts] = unzigzag(steps[starts].view(np.uint64))
        low, high = np.full(len(lengths), np.inf), np.full(len(lengths), -np.inf)
        first = kept.starts[bucketed]
        low[bucketed], high[bucketed] = kept.values[first], kept.values[first + 1]
        small = Ragged(kept.values[kept.spread(~bucketed)], np.where(bucketed, 0, kept.lengths))
        return cls(small, Ragged.of_steps(steps, lengths), Ragged(counts, lengths), low, high)


def _key(groups: Ints, numbers: Ints) -> Ints:
    return (groups << _BITS) + (numbers + _MIDDLE)


def _add_up(keys: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """Sort the keys and add up the counts of equal ones."""
    if not len(keys):
        return keys, counts
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    starts = np.flatnonzero(np.diff(keys, prepend=keys[0] - 1))
    return keys[starts], np.add.reduceat(counts, starts)
