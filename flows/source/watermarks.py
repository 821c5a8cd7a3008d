"""Stream time of one input partition: the largest event time of a topic, the minimum over producers of an internal one.

Kept with the committed offset, as its metadata, so that lateness does not depend on where a commit or a crash fell.
"""

from __future__ import annotations

import base64

import msgspec
import numpy as np

from flows.operate.base import NO_TIME, Times


class Watermark(msgspec.Struct, array_like=True):
    """The state that travels in the offset's metadata.

    `time` is the stream time, `idle` marks a partition whose time may be left out by those that take a minimum,
    `producers` holds (watermark, idle) of each upstream partition of an internal topic. `advanced` is how far silence
    has moved time for the tables that wait for the end of their windows; lateness in other tables never uses it.
    """

    time: int = NO_TIME
    idle: bool = False
    producers: dict[int, tuple[int, bool]] = {}
    advanced: int = NO_TIME

    def encode(self) -> str:
        return base64.b85encode(msgspec.msgpack.encode(self)).decode()


def decode_watermark(metadata: str) -> Watermark:
    """Read a watermark from an offset's metadata; an empty one is the beginning of time."""
    if not metadata:
        return Watermark()
    return msgspec.msgpack.decode(base64.b85decode(metadata), type=Watermark)


def advance(mark: Watermark, times: Times) -> Times:
    """Return the stream time as of each record and move the mark to the last; records without a time move nothing."""
    if not len(times):
        return times
    running = np.maximum.accumulate(times)
    if mark.time > running[0]:
        running = np.maximum(running, mark.time)
    mark.time = int(running[-1])
    return running


def advance_producers(mark: Watermark, producers: Times, marks: Times, expected: int) -> Times:
    """Return the stream time as of each record of an internal topic.

    `producers` and `marks` are each record's upstream partition and that partition's stream time. Time is the minimum
    over all `expected` producers that are not idle; before each of them was heard it has not begun. It never goes back.
    """
    if not len(producers):
        return marks
    columns = []
    for producer in range(expected):
        before, idle = mark.producers.get(producer, (NO_TIME, False))
        mine = producers == producer
        if not mine.any():
            if not idle:
                columns.append(np.full(len(marks), before))
            continue
        running = np.maximum.accumulate(np.where(mine, np.maximum(marks, before), before))
        mark.producers[producer] = (int(running[-1]), False)
        # A producer that was idle counts again from its first record on.
        columns.append(np.where(running == before, np.iinfo(np.int64).max, running) if idle else running)
    lowest = np.minimum.reduce(columns) if columns else np.full(len(marks), mark.time)
    lowest = np.where(lowest == np.iinfo(np.int64).max, mark.time, lowest)
    running = np.maximum.accumulate(np.maximum(lowest, mark.time))
    mark.time = int(running[-1])
    return running


def hear_marker(mark: Watermark, producer: int, time: int, idle: bool, expected: int) -> None:
    """Take the watermark that a producer wrote by itself, without a record."""
    before, _ = mark.producers.get(producer, (NO_TIME, False))
    mark.producers[producer] = (max(time, before), idle)
    known = [mark.producers.get(p, (NO_TIME, False)) for p in range(expected)]
    active = [t for t, is_idle in known if not is_idle]
    lowest = min(active) if active else max(t for t, _ in known)
    mark.time = max(mark.time, lowest)


def is_quiet(mark: Watermark, expected: int) -> bool:
    """Tell whether all producers of an internal partition said that they are idle."""
    return len(mark.producers) == expected and all(idle for _, idle in mark.producers.values())
