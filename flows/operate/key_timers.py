"""The timers of keys in one task: each goes off once, those of event time between two records, in order of time.

A timer lies in two tables: under its key, to be found and moved, and under `[due][key]`, to go off in order. Both are
dictionary tables of the task, so that what a failed record set is taken back, and a crash finds what was committed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np

from flows.brokers.base import Records, TopicPartition
from flows.operate.base import Batch
from flows.operate.dict_table import GONE, DictTableState
from flows.operate.grouped_table import GroupedTableState

NEVER = 1 << 62

_SECOND = 1_000_000


class DueTableState(GroupedTableState):
    """Timers by time: the keys are (due in microseconds, key), the values say nothing."""

    def _proper(self, key: Any) -> Any:
        return key[0], self._checked(key[1])


class KeyTimers:
    """All timers of one declaration in one task. `run` works through keys that are due: ((key, due in seconds))."""

    def __init__(
        self,
        state: DictTableState,
        dues: DueTableState,
        first: Callable[[], tuple[int, Any] | None],
        run: Callable[[Sequence[Any], Sequence[int], Batch], Awaitable[None]],
    ) -> None:
        self.state, self._dues, self._first, self._run = state, dues, first, run
        self._next: int | None = None

    @property
    def next_time(self) -> int:
        """The moment at which the next timer is due, in microseconds; between two records only."""
        if self._dues.dirty:
            self._dues.flush()
            self._next = None
        if self._next is None:
            found = self._first()
            self._next = NEVER if found is None else found[0]
        return self._next

    async def fire(self) -> None:
        """Remove the next timer, and let its function have it."""
        found = self._first()
        assert found is not None
        due, key = found
        for state, name in ((self._dues, found), (self.state, key)):
            state.put(name, GONE, None)
            state.dirty[name] = None
        await self._run([(key, due / _SECOND)], [0], self._batch(due, key))

    def _batch(self, due: int, key: Any) -> Batch:
        times = np.array([due], np.int64)
        records = Records(
            tp=TopicPartition(f"{self.state.name} timers", 0),
            offsets=[0],
            timestamps=[due // 1000],
            keys=[self.state.key_bytes(key)],
            values=[None],
            headers=None,
            next_offset=1,
        )
        return Batch(records, None, times, times)


def next_of(timers: Sequence[KeyTimers]) -> KeyTimers | None:
    """Return whose timer is due first; of equal ones that which was declared first."""
    return min(timers, key=lambda t: t.next_time, default=None)
