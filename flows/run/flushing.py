"""The way of a task's committed cache to its store: in the background, retried, and waited for when it lags."""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter

from flows.errors import StateCorrupt, StateError
from flows.metrics import WorkerMetrics
from flows.state.task_state import TaskState

log = logging.getLogger("flows.state")

_RETRY = 1.0


class Flusher:
    """Flush one task's state. Nothing is lost when it fails: the rows stay in the cache and in the changelog."""

    def __init__(self, task_id: str, state: TaskState, metrics: WorkerMetrics) -> None:
        self._task_id, self._state, self._metrics = task_id, state, metrics
        self._running: asyncio.Task[None] | None = None
        self._failed_at: float | None = None
        self._damaged: StateCorrupt | None = None

    def check(self, now: float) -> None:
        """Start a flush if one is due; raises `StateCorrupt` when the last found the store damaged."""
        if self._damaged is not None:
            raise self._damaged
        waiting = self._failed_at is not None and perf_counter() - self._failed_at < _RETRY
        if not waiting and not self._is_running() and self._state.needs_flush(now):
            self._running = asyncio.create_task(self._flush(), name=f"flush {self._task_id}")

    async def hold_back(self, now: float) -> None:
        """Wait while the cache is at its hard limit: what cannot be written must not fill the memory."""
        while self._state.full():
            self.check(now)
            if self._running is not None:
                await asyncio.wait([self._running])
            if self._state.full() and self._failed_at is not None:
                await asyncio.sleep(_RETRY)

    async def end(self) -> None:
        """Wait for a flush that is under way."""
        if self._running is not None:
            await asyncio.wait([self._running])

    def _is_running(self) -> bool:
        return self._running is not None and not self._running.done()

    async def _flush(self) -> None:
        try:
            await self._state.flush()
            self._failed_at = None
        except StateCorrupt as error:
            self._damaged = error
        except StateError as error:
            self._failed_at = perf_counter()
            self._metrics.trouble(f"task {self._task_id}: {error}")
            log.warning("task %s cannot write its state, tries again: %s", self._task_id, error)
