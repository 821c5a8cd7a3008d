"""Reading topics for people: from where they say to where the topic ends, or on and on."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from flows.brokers.base import Broker, Records, TopicPartition

Positions = dict[TopicPartition, int]

_BATCH = 1000
_WAIT = 0.5


async def read_records(
    broker: Broker, starts: Positions, ends: Mapping[TopicPartition, int] | None, limit: int | None
) -> AsyncGenerator[Records]:
    """Yield records from `starts` on, up to `limit` of them, and up to `ends` where there are any."""
    reader = broker.reader(starts)
    left = limit
    try:
        while ends is None or any(reader.position(tp) < end for tp, end in ends.items()):
            for records in await reader.fetch(_BATCH if left is None else min(_BATCH, left), _WAIT):
                count = len(records) if ends is None else bisect_left(records.offsets, ends[records.tp])
                count = count if left is None else min(count, left)
                if count:
                    yield records.split(count)[0]
                left = None if left is None else left - count
                if left == 0:
                    return
    finally:
        await reader.close()


async def offsets_at(broker: Broker, starts: Positions, ends: Positions, milliseconds: int) -> Positions:
    """Return, of each partition, about the first offset whose record has this timestamp or a later one.

    By bisection: exact where timestamps ascend; where they do not, it is one with an earlier record before it.
    """

    async def find(tp: TopicPartition) -> int:
        low, high = starts[tp], ends[tp]
        while low < high:
            middle = (low + high) // 2
            found = await first_record(broker, tp, middle, high)
            # Nothing but holes from the middle on: what is wanted lies before.
            if found is None:
                high = middle
            elif found.timestamps[0] < milliseconds:
                low = found.offsets[0] + 1
            else:
                high = middle
        return low

    return dict(zip(starts, await asyncio.gather(*map(find, starts)), strict=True))


async def first_record(broker: Broker, tp: TopicPartition, offset: int, end: int) -> Records | None:
    """Return the first record at or behind an offset, None where there is none before `end`."""
    async with aclosing(read_records(broker, {tp: offset}, {tp: end}, 1)) as found:
        return await anext(found, None)
