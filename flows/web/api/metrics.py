"""`/metrics`: what Prometheus scrapes, in its text format or in OpenMetrics, as it asks for."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Iterator
from importlib.metadata import version

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from flows.latency import TOLD_BOUNDS, Latencies
from flows.lateness import BOUNDS
from flows.metrics import WorkerMetrics
from flows.web.base import CONTEXT, Status, StatusSource
from flows.web.counting import WebCollector
from flows.web.endpoint import Endpoint, Media
from flows.web.gateway import GATEWAY, GatewayCollector

TASK_STATES = ("restoring", "running", "paused", "failed")


def endpoints() -> list[Endpoint]:
    """Return `GET /metrics`."""
    told = Media(("text/plain", "application/openmetrics-text"), "Metrics as Prometheus or OpenMetrics text.")
    return [Endpoint(method="GET", path="/metrics", handler=show_metrics, answer=told, any_query=True)]


def registry(status: StatusSource, metrics: WorkerMetrics) -> CollectorRegistry:
    """Make the registry of one worker: several in a process know nothing of each other."""
    found = CollectorRegistry()
    found.register(WorkerCollector(status, metrics))
    ProcessCollector(registry=found)
    return found


async def show_metrics(request: web.Request) -> web.Response:
    """Answer all metrics as they are at this moment."""
    context = request.app[CONTEXT]
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    found = registry(context.status, context.metrics)
    found.register(WebCollector(context))
    if GATEWAY in request.app:
        found.register(GatewayCollector(request.app[GATEWAY]))
    body = encode(found)
    return web.Response(body=body, headers={"Content-Type": content_type})


class WorkerCollector(Collector):
    """Reads a worker's state and counters when it is asked; nothing is kept in between."""

    def __init__(self, status: StatusSource, metrics: WorkerMetrics) -> None:
        self._status, self._metrics = status, metrics

    def collect(self) -> Iterable[Metric]:
        """Yield all of the worker's metrics; docs/metrics.md lists them."""
        status = self._status.status()
        yield from _of_worker(status)
        yield from _of_tasks(status)
        yield from self._counters()
        yield from self._latencies()
        yield CounterMetricFamily(
            "flows_rebalances", "Times that the group gave this worker other tasks", self._metrics.rebalances
        )

    def _counters(self) -> Iterator[Metric]:
        tasks = sorted(self._metrics.tasks().items())
        records = CounterMetricFamily("flows_records", "Records processed", labels=["task"])
        commits = CounterMetricFamily("flows_commits", "Commits", labels=["task"])
        seconds = CounterMetricFamily("flows_stage_seconds", "Seconds spent in a stage", labels=["task", "stage"])
        for name, task in tasks:
            records.add_metric([name], task.records)
            commits.add_metric([name], task.commits)
            for stage, spent in task.seconds.items():
                seconds.add_metric([name, stage], spent)
        late = CounterMetricFamily("flows_late_records", "Records that came too late for a table", labels=["table"])
        behind = HistogramMetricFamily(
            "flows_lateness_seconds", "Seconds by which stream time was ahead of late records", labels=["table"]
        )
        for table, lateness in sorted(self._metrics.lateness().items()):
            counts = zip(map(str, BOUNDS), lateness.up_to_bounds(), strict=True)
            late.add_metric([table], lateness.count)
            behind.add_metric([table], [*counts, ("+Inf", lateness.count)], lateness.total)
        refused = CounterMetricFamily(
            "flows_refused_records", "Records that did not fit, by what was done with them", labels=["step", "action"]
        )
        for (step, action), count in sorted(self._metrics.refused.items()):
            refused.add_metric([step, action], count)
        yield from (records, commits, seconds, late, behind, refused)

    def _latencies(self) -> Iterator[Metric]:
        found = HistogramMetricFamily(
            "flows_latency_seconds", "Seconds from a record's timestamp to its commit", labels=["topic"]
        )
        for topic, latencies in sorted(self._metrics.latencies().items()):
            found.add_metric([topic], _buckets(latencies), latencies.total)
        yield found
        commits = HistogramMetricFamily("flows_commit_seconds", "Seconds that commits took, waits for the broker too")
        took = self._metrics.commit_times()
        commits.add_metric([], _buckets(took), took.total)
        yield commits


def _buckets(found: Latencies) -> list[tuple[str, float]]:
    counts = zip(map(str, TOLD_BOUNDS), map(float, found.up_to(TOLD_BOUNDS)), strict=True)
    return [*counts, ("+Inf", float(found.count))]


def _of_worker(status: Status) -> Iterator[Metric]:
    about = {"version": version("flows"), "python": platform.python_version(), "app": status.app}
    yield InfoMetricFamily("flows_build", "What runs here", value=about)
    yield GaugeMetricFamily("flows_ready", "1 once all tasks of the worker are restored", value=int(status.ready))
    yield GaugeMetricFamily(
        "flows_loop_delay_seconds", "By how much the event loop answered late in the last half second", status.loop_lag
    )
    caches = GaugeMetricFamily("flows_rocksdb_bytes", "Bytes that all stores of the worker share", labels=["kind"])
    for kind, size in sorted(status.caches.items()):
        caches.add_metric([kind], size)
    yield caches


def _of_tasks(status: Status) -> Iterator[Metric]:
    lag = GaugeMetricFamily("flows_lag_records", "Offsets between what was processed and the ends", labels=["task"])
    watermark = GaugeMetricFamily(
        "flows_watermark_seconds", "Stream time of the slowest input, since the epoch", labels=["task"]
    )
    delay = GaugeMetricFamily(
        "flows_watermark_delay_seconds", "By how much stream time is behind the clock", labels=["task"]
    )
    now = time.time()
    state = GaugeMetricFamily("flows_task_state", "1 for the state that a task is in", labels=["task", "state"])
    whole = GaugeMetricFamily("flows_restore_records", "Changelog records that a restore replays", labels=["task"])
    done = GaugeMetricFamily("flows_restore_done_records", "Changelog records replayed of these", labels=["task"])
    rate = GaugeMetricFamily("flows_restore_rate", "Changelog records replayed a second", labels=["task"])
    kept = GaugeMetricFamily("flows_state_bytes", "Bytes of a task's tables, on disk and in memtables", labels=["task"])
    for task in status.tasks:
        name = [task.id]
        lag.add_metric(name, task.lag)
        if task.watermark is not None:
            watermark.add_metric(name, task.watermark)
            delay.add_metric(name, now - task.watermark)
        for known in TASK_STATES:
            state.add_metric([task.id, known], int(task.state == known))
        whole.add_metric(name, task.total)
        done.add_metric(name, task.done)
        rate.add_metric(name, task.rate)
        kept.add_metric(name, task.state_bytes)
    yield from (lag, watermark, delay, state, whole, done, rate, kept)
