"""The order in which a task takes records from several inputs: the smallest head time first."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable

import numpy as np

from flows.brokers.base import Broker, Reader, Records, TopicPartition
from flows.compile.pipeline import Pipeline
from flows.operate.base import NO_TIME

_PEEK = 512

Learn = Callable[[str, Iterable[bytes | None]], Awaitable[None]]
"""Called with a topic and values of it, before they are decoded."""


Times = np.ndarray[tuple[int], np.dtype[np.int64]]


class InputOrder:
    """Fetch a task's inputs. With one input, as the log has them.

    With several: of the inputs' next records the one with the smallest event time goes first (one without a time at
    once; of equal ones that of a joined table, else that of the input whose name comes first), and while any input has
    data that was not fetched yet, the others wait (`blocked`).
    """

    def __init__(
        self, reader: Reader, broker: Broker, pipeline: Pipeline, inputs: list[TopicPartition], learn: Learn
    ) -> None:
        self._learn = learn
        self._reader, self._broker, self._pipeline = reader, broker, pipeline
        self._waiting: dict[TopicPartition, deque[Records]] = {tp: deque() for tp in inputs}
        self.blocked = False

    async def fetch(self, max_records: int, timeout: float) -> list[Records]:
        """Return what can be processed now, in order; wait up to `timeout` seconds if nothing can."""
        if len(self._waiting) == 1:
            return await self._fetch(max_records, timeout)
        empty = [tp for tp, waiting in self._waiting.items() if not waiting]
        if empty:
            full = [tp for tp in self._waiting if tp not in empty]
            self._reader.pause(full)
            for records in await self._fetch(max_records, 0.0 if full else timeout):
                if len(records):
                    self._waiting[records.tp].append(records)
            self._reader.resume(full)
            self.blocked = await self._behind([tp for tp in empty if not self._waiting[tp]])
            if self.blocked:
                return []
        return self._in_order()

    async def _fetch(self, max_records: int, timeout: float) -> list[Records]:
        """Fetch, and learn what decoding will need."""
        found = list(await self._reader.fetch(max_records, timeout))
        for records in found:
            await self._learn(records.tp.topic, records.values)
        return found

    async def _behind(self, tps: list[TopicPartition]) -> bool:
        """Tell whether an input without fetched records has some at the broker."""
        if not tps:
            return False
        ends = await self._broker.end_offsets(tps)
        return any(self._reader.position(tp) < ends[tp] for tp in tps)

    def _in_order(self) -> list[Records]:
        """Take runs of records until an input has none left here."""
        out: list[Records] = []
        heads = {tp: self._times(tp) for tp, waiting in self._waiting.items() if waiting}
        while heads and all(len(t) for t in heads.values()):
            first, *others = sorted(heads, key=lambda tp: (int(heads[tp][0]), self._rank(tp)))
            count = (
                _run_length(heads[first], int(heads[others[0]][0]), self._rank(first) < self._rank(others[0]))
                if others
                else len(heads[first])
            )
            records, rest = self._waiting[first].popleft().split(count)
            out.append(records)
            if rest is not None:
                self._waiting[first].appendleft(rest)
            heads[first] = heads[first][count:]
            if not len(heads[first]):
                if not self._waiting[first]:
                    break
                heads[first] = self._times(first)
        return out

    def _rank(self, tp: TopicPartition) -> tuple[bool, TopicPartition]:
        """Order records of one time: those of a joined table go before those that are joined with it."""
        return not self._pipeline.branches[tp].comes_first, tp

    def _times(self, tp: TopicPartition) -> Times:
        head, _ = self._waiting[tp][0].split(_PEEK)
        times: Times = self._pipeline.branches[tp].source.peek_times(head)
        return times if len(times) else np.full(1, NO_TIME)


def _run_length(times: Times, other: int, wins_ties: bool) -> int:
    """Return how many records go before one of the time `other`; at least one does."""
    behind = np.flatnonzero(times > other if wins_ties else times >= other)
    return max(1, int(behind[0])) if len(behind) else len(times)
