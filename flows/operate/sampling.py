"""Samples: the same records each time, since what is kept follows from a record's place or its columns alone."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import polars as pl

from dsl.plan.types import Kind
from flows.brokers.base import Records
from flows.operate.aggregates.hashing import Hashes, fold, hash_values
from flows.operate.base import OFFSET, PARTITION, ROW, Batch, FrameStep

_NULL = np.uint64(0x6E756C6C)
_SCALE = 2.0**-53


def sample_step(rate: float | None, every: int | None, by: list[tuple[str, Kind]], then: FrameStep) -> FrameStep:
    """Pass on the rows of a sample; `by` are the columns, with their kinds, whose values are kept or left out."""

    def run(frame: pl.DataFrame, batch: Batch) -> None:
        if by:
            hashes = _of_columns(frame, by)
            kept = _below(hashes, rate) if rate is not None else hashes % np.uint64(every or 1) == 0
        elif rate is not None:
            kept = _below(_of_places(frame, batch.records), rate)
        else:
            kept = frame[OFFSET].to_numpy() % (every or 1) == 0
        if kept.any():
            then(frame if kept.all() else frame.filter(kept), batch)

    return run


def _below(hashes: Hashes, rate: float) -> npt.NDArray[np.bool_]:
    """Tell which hashes, as fractions of 1 in 53 bits, lie below the rate."""
    return np.asarray((hashes >> np.uint64(11)) * _SCALE < rate)


def _of_places(frame: pl.DataFrame, records: Records) -> Hashes:
    topics = [records.origin(row).topic for row in frame[ROW].to_list()]
    seeds = {topic: int.from_bytes(blake2b(topic.encode(), digest_size=8).digest(), "big") for topic in set(topics)}
    partitions, offsets = (frame[name].to_numpy().view(np.uint64) for name in (PARTITION, OFFSET))
    return fold(fold(np.array([seeds[topic] for topic in topics], np.uint64), partitions), offsets)


def _of_columns(frame: pl.DataFrame, by: list[tuple[str, Kind]]) -> Hashes:
    hashes = np.zeros(frame.height, np.uint64)
    for name, kind in by:
        column = frame[name]
        found = np.full(frame.height, _NULL, np.uint64)
        there = column.is_not_null().to_numpy()
        found[there] = hash_values(column.drop_nulls(), kind)
        hashes = fold(hashes, found)
    return hashes
