"""What a worker tells of itself: to its page, its log, and whoever asks whether it is ready."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from time import perf_counter, time
from typing import Protocol

from flows.brokers.base import Broker, TopicPartition
from flows.latency import Latencies
from flows.metrics import WorkerMetrics
from flows.run.task import Task
from flows.run.trend import Trend, refused_by_step
from flows.web.base import ErrorStatus, LatencyStatus, Status, TaskStatus

_EVERY = 0.5
_PULSE = 0.02
_STATM, _PAGE = Path("/proc/self/statm"), os.sysconf("SC_PAGE_SIZE")
_LATELY = 20
"""Latencies are told of so many measurements: ten seconds."""


class Held(Protocol):
    """The tasks that a worker holds, and how far it is."""

    @property
    def tasks(self) -> dict[str, Task]: ...

    @property
    def ready(self) -> bool: ...

    @property
    def state(self) -> str: ...


class StatusBoard:
    """Measure rates, lag and how late the event loop answers; implements `StatusSource`."""

    def __init__(
        self,
        app: str,
        worker: str,
        held: Held,
        broker: Broker,
        metrics: WorkerMetrics,
        caches: Callable[[], dict[str, int]] = dict,
    ) -> None:
        self._caches = caches
        self._app, self._worker, self._held, self._broker, self._metrics = app, worker, held, broker, metrics
        self._started = time()
        self._ends: dict[TopicPartition, int] = {}
        self._rate = 0.0
        self._sizes: dict[str, int] = {}
        self._trend = Trend(metrics)
        self._delay = 0.0
        self.longest_delay = 0.0
        self._latencies: deque[dict[str, Latencies]] = deque([{}], maxlen=_LATELY + 1)

    async def measure(self) -> None:
        """Measure until cancelled."""
        before, last = self._metrics.records, perf_counter()
        while True:
            # From now, not from `last`: where the broker takes long to tell the ends, there would be no time left.
            worst = await self._pulse(perf_counter() + _EVERY)
            now, records = perf_counter(), self._metrics.records
            self._rate = (records - before) / (now - last)
            self._delay, self.longest_delay = worst, max(worst, self.longest_delay)
            self._latencies.append(self._metrics.latencies())
            self._trend.measure(sum(t.lag_of(self._ends) for t in self._held.tasks.values()) if self._ends else None)
            before, last = records, now
            self._sizes = {t.id: t.state.store.size() for t in self._held.tasks.values() if t.ready and t.state}
            inputs = [tp for task in list(self._held.tasks.values()) for tp in task.positions]
            self._ends = await self._broker.end_offsets(inputs)

    async def _pulse(self, until: float) -> float:
        """Sleep in short steps and return by how much the worst of them was overslept."""
        worst = 0.0
        while (begun := perf_counter()) < until:
            await asyncio.sleep(_PULSE)
            worst = max(worst, perf_counter() - begun - _PULSE)
        return worst

    def status(self) -> Status:
        tasks = tuple(self._of_task(t) for t in sorted(self._held.tasks.values(), key=lambda t: t.id))
        return Status(
            app=self._app,
            worker=self._worker,
            started=self._started,
            ready=self._held.ready,
            state=self._held.state,
            records_per_second=self._rate,
            records=self._metrics.records,
            lag=sum(t.lag for t in tasks),
            restored=_restored(tasks),
            loop_lag=self._delay,
            tasks=tasks,
            stages=self._trend.shares(),
            latency=self._latency(),
            memory=resident_bytes(),
            caches=self._caches(),
            refused=dict(refused_by_step(self._metrics)),
            late=dict(self._metrics.late),
            flow=self._trend.flow(),
            busy=self._trend.busy(),
            lag_growth=self._trend.lag_growth(),
            refused_lately=self._trend.refused(),
            errors=tuple(
                ErrorStatus(step="worker", message=t.what, count=t.count, at=t.at) for t in self._metrics.troubles
            ),
        )

    def _latency(self) -> dict[str, LatencyStatus]:
        before, now = self._latencies[0], self._latencies[-1]
        lately = {topic: found.since(before[topic]) if topic in before else found for topic, found in now.items()}
        return {
            topic: LatencyStatus(
                p50=found.quantile(0.5),
                p99=found.quantile(0.99),
                records=found.count,
                histogram=found.picture(),
            )
            for topic, found in sorted(lately.items())
            if found.count
        }

    def _of_task(self, task: Task) -> TaskStatus:
        watermark, progress = task.watermark, task.progress
        return TaskStatus(
            id=task.id,
            state="running" if task.ready else "restoring",
            worker=self._worker,
            lag=task.lag_of(self._ends),
            watermark=None if watermark is None else watermark / 1_000_000,
            restored=1.0 if task.ready else progress.share,
            done=progress.done,
            total=progress.total,
            rate=progress.rate,
            state_bytes=self._sizes.get(task.id, 0),
        )


def resident_bytes() -> int:
    """Return the memory of this process (RSS), 0 where the system does not tell."""
    try:
        return int(_STATM.read_text().split()[1]) * _PAGE
    except OSError:
        return 0


def _restored(tasks: Iterable[TaskStatus]) -> float:
    """Return how much of all that is being restored is there already, from 0 to 1."""
    waiting = [t for t in tasks if t.state == "restoring"]
    total = sum(t.total for t in waiting)
    return sum(t.done for t in waiting) / total if total else (0.0 if waiting else 1.0)
