"""Rows of unsigned integers as LEB128 bytes (seven bits a byte, the lowest first), whole columns at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flows.operate.aggregates.ragged import Ragged

_SEVEN = np.uint64(7)
_LIMITS = np.array([1 << 7 * i for i in range(1, 10)], np.uint64)


def write_varints(numbers: Ragged) -> list[bytes]:
    """Encode each row of uint64 numbers."""
    values = numbers.values.astype(np.uint64, copy=False)
    sizes = np.searchsorted(_LIMITS, values, side="right") + 1
    ends = np.cumsum(sizes)
    data = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
    for place in range(int(sizes.max(initial=0))):
        reaches = sizes > place
        more = np.where(sizes[reaches] > place + 1, 0x80, 0).astype(np.uint8)
        low = (values[reaches] >> (_SEVEN * np.uint64(place))) & np.uint64(0x7F)
        data[(ends - sizes)[reaches] + place] = low.astype(np.uint8) | more
    return Ragged(data, Ragged(sizes, numbers.lengths).sums()).to_blobs()


def read_varints(rows: Sequence[bytes]) -> Ragged:
    """Decode what `write_varints` encoded."""
    data = Ragged.of_blobs(rows, "u1")
    last = np.flatnonzero(data.values < 0x80)
    starts = np.concatenate([np.zeros(1, np.int64), last[:-1] + 1])[: len(last)]
    sizes = last - starts + 1
    values = np.zeros(len(last), np.uint64)
    for place in range(int(sizes.max(initial=0))):
        reaches = sizes > place
        bits = (data.values[starts[reaches] + place] & 0x7F).astype(np.uint64)
        values[reaches] |= bits << (_SEVEN * np.uint64(place))
    ends_before = np.concatenate([np.zeros(1, np.int64), np.cumsum(data.values < 0x80)])
    ends = data.ends
    return Ragged(values, ends_before[ends] - ends_before[ends - data.lengths])
