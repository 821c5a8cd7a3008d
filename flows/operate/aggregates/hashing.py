"""A 64-bit hash of values, the same on every machine and in every version: the ground of `approx_distinct`.

A value is first written as bytes: integers, times and booleans as int64, floats as doubles (-0.0 as 0.0, every NaN
as one), strings in UTF-8, bytes as they are. Its 8-byte little-endian words, the last one filled up with zeros, are
folded one by one, by murmur3's 64-bit finaliser, into the length + 1 times a constant. Of more than 64 bytes the
8-byte BLAKE2b digest takes their place; so does that of the decimal digits of an integer beyond 64 bits.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import polars as pl

from dsl.plan.types import Kind
from flows.operate.aggregates.arrow import flat_bytes

Hashes = npt.NDArray[np.uint64]

_LONG = 64
_FOLD = np.uint64(0x9E3779B97F4A7C15)
_WORD = np.uint64(9 * int(_FOLD) % (1 << 64))
_LOW = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)


def hash_values(column: pl.Series, kind: Kind) -> Hashes:
    """Hash a plain column without nulls."""
    if kind is Kind.FLOAT:
        numbers = column.to_numpy() + 0.0
        numbers[np.isnan(numbers)] = np.nan
        return _hash_words(numbers.view(np.uint64))
    if kind in (Kind.STR, Kind.BYTES):
        return _hash_bytes(column.cast(pl.Binary))
    if column.dtype == pl.Int128:
        return _hash_wide(column)
    return _hash_words(column.cast(pl.Int64).to_numpy().view(np.uint64))


def _hash_wide(column: pl.Series) -> Hashes:
    fits = column.is_between(-(1 << 63), (1 << 63) - 1).to_numpy()
    hashes = np.empty(len(column), np.uint64)
    hashes[fits] = _hash_words(column.filter(fits).cast(pl.Int64).to_numpy().view(np.uint64))
    digits = [_digest(str(v).encode()) for v in column.filter(~fits).to_list()]
    hashes[~fits] = _hash_bytes(pl.Series(digits, dtype=pl.Binary))
    return hashes


def _digest(value: bytes) -> bytes:
    return blake2b(value, digest_size=8).digest()


def _hash_words(words: Hashes) -> Hashes:
    return _mix(words ^ _WORD)


def _hash_bytes(values: pl.Series) -> Hashes:
    data, sizes = flat_bytes(values)
    if sizes.max(initial=0) > _LONG:
        short = [_digest(value) if len(value) > _LONG else value for value in values.to_list()]
        data, sizes = flat_bytes(pl.Series(short, dtype=pl.Binary))
    words = np.ndarray(len(data) + 1, "<u8", np.append(data, np.zeros(8, np.uint8)), strides=(1,))
    starts = np.cumsum(sizes) - sizes
    with np.errstate(over="ignore"):
        hashes = (sizes + 1).astype(np.uint64) * _FOLD
    for place in range(0, max(int(sizes.max(initial=0)), 1), 8):
        rows = np.flatnonzero(sizes > place) if place else np.arange(len(sizes))
        word = words[starts[rows] + place] & _LOW[np.minimum(sizes[rows] - place, 8)]
        hashes[rows] = _mix(hashes[rows] ^ word)
    return hashes


def fold(hashes: Hashes, words: Hashes) -> Hashes:
    """Take further 64-bit words into hashes, one each."""
    with np.errstate(over="ignore"):
        return _mix(hashes * _FOLD ^ words)


def _mix(h: Hashes) -> Hashes:
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))
