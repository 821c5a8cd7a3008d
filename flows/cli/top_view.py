"""What `flows top` shows of a group at one moment: what is wrong, in words, then workers, tasks, topics and stages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from flows.web.advice import advise
from flows.web.base import Advice, GroupStatus, TaskStatus

_LEVELS = {"bad": ("!", "bold red"), "warn": ("!", "yellow"), "info": ("·", "default"), "good": ("·", "green")}
_BAR = 24
_NAME = 16
"""Columns that a narrow terminal leaves for names."""
_MOST_TASKS = 40


def view(app: str, group: GroupStatus, now: float) -> RenderableType:
    """Return the overview; `now` is in seconds since the epoch."""
    return Group(
        _head(app, group),
        *map(_advice, advise(group, now)),
        Text(),
        _workers(group),
        Text(),
        _tasks(group, now),
        Text(),
        _topics(group),
        Text(),
        _stages(group),
    )


def _advice(advice: Advice) -> Text:
    mark, style = _LEVELS[advice.level]
    return Text(f"{mark} {advice.words} {advice.todo}".rstrip(), style=style)


def _head(app: str, group: GroupStatus) -> Text:
    workers = group.workers
    ready = sum(worker.ready for worker in workers)
    rate, lag = sum(w.records_per_second for w in workers), sum(w.lag for w in workers)
    return Text.assemble(
        (app, "bold"),
        f"  {ready} of {_count(len(workers), 'worker')} ready  {rate:,.0f} records/s  {lag:,} behind",
    )


def _workers(group: GroupStatus) -> Table:
    table = _table("worker", "state", "tasks", "records/s", "behind", "memory", "loop")
    for worker in group.workers:
        if worker.trouble:
            table.add_row(worker.worker, "unknown", *"-----")
            continue
        table.add_row(
            worker.worker,
            worker.state if worker.ready else f"{worker.state}, not ready",
            f"{len(worker.tasks)}",
            f"{worker.records_per_second:,.0f}",
            f"{worker.lag:,}",
            _bytes(worker.memory),
            f"{worker.loop_lag * 1000:.0f} ms",
        )
    return table


def _tasks(group: GroupStatus, now: float) -> Table:
    table = _table("task", "worker", "state", "behind", "stream time behind", "state size")
    tasks = sorted((task for worker in group.workers for task in worker.tasks), key=_worst_first)
    for task in tasks[:_MOST_TASKS]:
        table.add_row(
            task.id,
            task.worker,
            f"restoring {_restored(task)}".rstrip() if task.state == "restoring" else task.state,
            f"{task.lag:,}",
            "-" if task.watermark is None else _span(now - task.watermark),
            _bytes(task.state_bytes),
        )
    if len(tasks) > _MOST_TASKS:
        table.add_row(f"and {len(tasks) - _MOST_TASKS} more")
    return table


def _topics(group: GroupStatus) -> Table:
    table = _table("topic", "records/s", "p50", "p99")
    rates = _sum(worker.flow.read for worker in group.workers)
    for topic, rate in sorted(rates.items()):
        told = [w.latency[topic] for w in group.workers if topic in w.latency]
        # Quantiles of several workers are not those of all: the worst is told.
        p50, p99 = (max((getattr(found, q) for found in told), default=None) for q in ("p50", "p99"))
        table.add_row(topic, f"{rate:,.0f}", *("-" if q is None else f"{q * 1000:,.0f} ms" for q in (p50, p99)))
    return table


def _stages(group: GroupStatus) -> Table:
    table = _table("stage", "share of the time", "")
    # A worker that does little has shares too: they count as much as it works.
    shares = _sum({s: share * w.busy for s, share in w.stages.items()} for w in group.workers)
    total = sum(shares.values())
    for stage, share in shares.items():
        part = share / total if total else 0.0
        table.add_row(stage, f"{part:.0%}", Text("█" * round(part * _BAR), style="cyan"))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, name in enumerate(columns):
        words = place == 0 or name in ("state", "worker", "")
        least = _NAME if place == 0 else None
        justify: JustifyMethod = "left" if words else "right"
        table.add_column(name, justify=justify, overflow="ellipsis", no_wrap=True, min_width=least)
    return table


def _worst_first(task: TaskStatus) -> tuple[bool, int, str]:
    return task.state == "running", -task.lag, task.id


def _restored(task: TaskStatus) -> str:
    """Tell how far the restore of a task is, once it is known how much there is."""
    return f"{task.restored:.0%} of {task.total:,} at {task.rate:,.0f}/s" if task.total else ""


def _sum(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            found[name] = found.get(name, 0) + value
    return found


def _count(number: float, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _bytes(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"


def _span(seconds: float) -> str:
    for unit, length in (("d", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{max(seconds, 0.0):.1f} s"
