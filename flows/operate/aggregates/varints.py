"""Rows of unsigned integers as LEB128 bytes (seven bits a byte, the lowest first), whole columns at once.

Both ways go byte by byte over the numbers that are that long; few are longer than two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from flows.operate.aggregates.arrow import Ints
from flows.operate.aggregates.ragged import Ragged

Unsigned = npt.NDArray[np.uint64]


def write_varints(numbers: Ragged) -> list[bytes]:
    """Encode each row of uint64 numbers."""
    values: Unsigned = numbers.values
    sizes = _sizes(values)
    ends = np.cumsum(sizes)
    data = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
    places = ends - sizes
    while len(values):
        data[places] = values & 0x7F
        longer = np.flatnonzero(values >= 0x80)
        data[places[longer]] |= 0x80
        values, places = values[longer] >> np.uint64(7), places[longer] + 1
    return Ragged(data, Ragged(sizes, numbers.lengths).sums()).to_blobs()


def _sizes(values: Unsigned) -> Ints:
    sizes = np.ones(len(values), np.int64)
    for bits in range(7, 64, 7):
        longer = values >= 1 << bits
        if not longer.any():
            break
        sizes += longer
    return sizes


def read_varints(rows: Sequence[bytes]) -> Ragged:
    """Decode what `write_varints` encoded."""
    data = Ragged.of_blobs(rows, "u1")
    is_last = data.values < 0x80
    last = np.flatnonzero(is_last)
    starts = np.zeros(len(last), np.int64)
    starts[1:] = last[:-1] + 1
    values = (data.values[starts] & 0x7F).astype(np.uint64)
    shift, longer = 7, np.flatnonzero(last > starts)
    while len(longer):
        starts[longer] += 1
        values[longer] |= (data.values[starts[longer]] & 0x7F).astype(np.uint64) << shift
        shift, longer = shift + 7, longer[last[longer] > starts[longer]]
    return Ragged(values, Ragged(is_last.view(np.int8), data.lengths).sums())
