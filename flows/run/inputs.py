"""The order in which a task takes records from several inputs: the smallest head time first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from flows.brokers.base import Broker, Reader, Records, TopicPartition
from flows.compile.pipeline import Pipeline
from flows.operate.base import Times
from flows.run.traces import TaskTraces
from flows.source.rounds import InputRound, next_round

Learn = Callable[[str, Iterable[bytes | None]], Awaitable[None]]
"""Called with a topic and values of it, before they are decoded."""


class InputOrder:
    """Fetch a task's inputs. With one input, as the log has them.

    With several: of the inputs' next records the one with the smallest event time goes first (one without a time at
    once; of equal ones that of a joined table, else that of the input whose name comes first), and while any input has
    data that was not fetched yet, the others wait (`blocked`).
    """

    def __init__(
        self,
        reader: Reader,
        broker: Broker,
        pipeline: Pipeline,
        inputs: list[TopicPartition],
        learn: Learn,
        traces: TaskTraces | None = None,
    ) -> None:
        self._learn, self._traces = learn, traces
        self._reader, self._broker, self._inputs = reader, broker, inputs
        self._sources = {tp: pipeline.branches[tp].source for tp in inputs}
        # Of equal times those of a joined table go before those that are joined with it.
        by_rank = sorted(inputs, key=lambda tp: (not pipeline.branches[tp].comes_first, tp))
        self._ranks = {tp: rank for rank, tp in enumerate(by_rank)}
        self._waiting: dict[TopicPartition, tuple[Records, Times]] = {}
        self.blocked = False

    async def fetch(self, max_records: int, timeout: float) -> InputRound | None:
        """Return what can be processed now; wait up to `timeout` seconds if nothing can."""
        empty = [tp for tp in self._inputs if tp not in self._waiting]
        if empty:
            full = list(self._waiting)
            self._reader.pause(full)
            found = await self._fetch(max_records, 0.0 if full else timeout)
            self._reader.resume(full)
            if len(self._inputs) == 1:
                return InputRound.of(*found) if found else None
            self._waiting.update((records.tp, (records, self._times(records))) for records in found)
            self.blocked = await self._behind([tp for tp in empty if tp not in self._waiting])
            if self.blocked:
                return None
        if not self._waiting:
            return None
        taken, self._waiting = next_round(self._waiting, self._ranks)
        return taken

    async def _fetch(self, max_records: int, timeout: float) -> list[Records]:
        """Fetch, and learn what decoding will need."""
        found = [records for records in await self._reader.fetch(max_records, timeout) if len(records)]
        for records in found:
            await self._learn(records.tp.topic, records.values)
        return found if self._traces is None else [self._traces.taken(records) for records in found]

    async def _behind(self, tps: list[TopicPartition]) -> bool:
        """Tell whether an input without fetched records has some at the broker."""
        if not tps:
            return False
        ends = await self._broker.end_offsets(tps)
        return any(self._reader.position(tp) < ends[tp] for tp in tps)

    def _times(self, records: Records) -> Times:
        return self._sources[records.tp].peek_times(records)
