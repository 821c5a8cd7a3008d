"""Stream time of one input partition: the largest event time of a topic, the minimum over producers of an internal one.

Kept with the committed offset, as its metadata, so that lateness does not depend on where a commit or a crash fell.
"""

from __future__ import annotations

import base64

import msgspec
import numpy as np

from flows.operate.base import NO_TIME, Times


class Heard(msgspec.Struct, array_like=True, frozen=True):
    """What a partition of an internal topic has heard of one of its producers.

    `time` is how far it lets stream time go. Of an idle one, `level` is how far the others were when it last said so.
    """

    time: int = NO_TIME
    idle: bool = False
    level: int = NO_TIME


_UNHEARD = Heard()


class Watermark(msgspec.Struct, array_like=True):
    """The state that travels in the offset's metadata.

    `time` is the stream time, `idle` marks a partition that is silent at its end, `producers` holds what was heard of
    each upstream partition of an internal topic. `advanced` is how far silence has moved time for the tables that wait
    for the end of their windows; lateness in other tables never uses it. `merged` holds, of
    each merged stream of a task whose first input this is, its time where that is beyond its inputs' own, and how far
    silence has moved it. `clock` is, in the first input of a task with windows of processing time, how far these have
    come: no later holder of the task goes back behind it, whatever its clock says.
    """

    time: int = NO_TIME
    idle: bool = False
    producers: dict[int, Heard] = {}
    advanced: int = NO_TIME
    merged: dict[str, tuple[int, int]] = {}
    clock: int = NO_TIME

    @property
    def is_fresh(self) -> bool:
        """Whether there is nothing to keep."""
        return not (self.producers or self.idle or self.merged) and self.time == self.clock == NO_TIME

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
    over all `expected` producers; before each of them was heard it has not begun. It never goes back.
    """
    if not len(producers):
        return marks
    columns = []
    for producer in range(expected):
        before = mark.producers.get(producer, _UNHEARD).time
        mine = producers == producer
        if mine.any():
            running = np.maximum.accumulate(np.where(mine, np.maximum(marks, before), before))
            mark.producers[producer] = Heard(int(running[-1]))
            columns.append(running)
        else:
            columns.append(np.full(len(marks), before))
    running = np.maximum.accumulate(np.maximum(np.minimum.reduce(columns), mark.time))
    mark.time = int(running[-1])
    return running


def hear_marker(mark: Watermark, producer: int, time: int, idle: bool, expected: int) -> None:
    """Take the watermark that a producer wrote by itself, without a record.

    An idle producer says so again and again, each time after it found that its input has no more. What it says for the
    second time lets time go to where the others were when it said it the first time: all that lay in its input then is
    here. To believe it at once, and for good, would let those that are the first to go on after a pause of all (of the
    source, of the machine) carry time away from the rest, whose records would then be late.
    """
    before = mark.producers.get(producer, _UNHEARD)
    reached = max(time, before.time)
    if idle and before.idle:
        reached = max(reached, before.level)
    mark.producers[producer] = Heard(reached, idle)
    known = [mark.producers.get(p, _UNHEARD) for p in range(expected)]
    if idle:
        active = [heard.time for heard in known if not heard.idle]
        level = min(active) if active else max(heard.time for heard in known)
        mark.producers[producer] = Heard(reached, True, level)
    mark.time = max(mark.time, min(heard.time for heard in known))


def is_quiet(mark: Watermark, expected: int) -> bool:
    """Tell whether all producers of an internal partition said that they are idle."""
    return len(mark.producers) == expected and all(heard.idle for heard in mark.producers.values())
