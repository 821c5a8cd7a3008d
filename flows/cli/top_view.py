"""What `flows top` shows of a group at one moment: what is wrong, in words, then workers, tasks, topics and stages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flows.web.base import GroupStatus, TaskStatus

_SLOW_LOOP = 0.5
_BAR = 24
_MOST_TASKS = 40


def view(app: str, group: GroupStatus, now: float) -> RenderableType:
    """Return the overview; `now` is in seconds since the epoch."""
    told = list(troubles(group))
    lines = [Text(f"{'!' if bad else '·'} {words}", style="bold red" if bad else "yellow") for bad, words in told]
    return Group(
        _head(app, group),
        *(lines or [Text("all is well", style="green")]),
        Text(),
        _workers(group),
        Text(),
        _tasks(group, now),
        Text(),
        _topics(group),
        Text(),
        _stages(group),
    )


def troubles(group: GroupStatus) -> Iterator[tuple[bool, str]]:
    """Yield what is wrong and what to do about it, each with whether it is bad."""
    if group.unheld:
        few = ", ".join(group.unheld[:3]) + ("…" if len(group.unheld) > 3 else "")
        yield True, f"nobody holds {_count(len(group.unheld), 'task')} ({few}): start a worker, or wait for its lease"
    for worker in group.workers:
        name = worker.worker
        if worker.trouble:
            yield True, f"{name} {worker.trouble}: look at its log"
        if worker.loop_lag > _SLOW_LOOP:
            yield True, f"the event loop of {name} answers {worker.loop_lag:.1f} s late: something computes in it"
        for task in worker.tasks:
            if task.error or task.state == "failed":
                yield True, f"task {task.id} of {name} fails: {task.error or 'its log says why'}"
            elif task.state == "restoring":
                yield False, f"task {task.id} of {name} is being restored, {_restored(task)}"
        for error in worker.errors:
            yield True, f"{name}: {error.message}"
    refused, late = _sum(w.refused for w in group.workers), _sum(w.late for w in group.workers)
    for step, count in sorted(refused.items()):
        yield False, f"{step} refused {_count(count, 'record')}: dead letters say why"
    for table, count in sorted(late.items()):
        yield False, f"{_count(count, 'record')} came too late for {table}: a longer grace takes them"


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
            f"restoring {_restored(task)}" if task.state == "restoring" else task.state,
            f"{task.lag:,}",
            "-" if task.watermark is None else _span(now - task.watermark),
            _bytes(task.state_bytes),
        )
    if len(tasks) > _MOST_TASKS:
        table.add_row(f"and {len(tasks) - _MOST_TASKS} more")
    return table


def _topics(group: GroupStatus) -> Table:
    table = _table("topic", "records/s", "p50", "p99")
    rates = _sum(worker.rates for worker in group.workers)
    for topic, rate in sorted(rates.items()):
        told = [w.latency[topic] for w in group.workers if topic in w.latency]
        # Quantiles of several workers are not those of all: the worst is told.
        p50, p99 = (max((getattr(found, q) for found in told), default=None) for q in ("p50", "p99"))
        table.add_row(topic, f"{rate:,.0f}", *("-" if q is None else f"{q * 1000:,.0f} ms" for q in (p50, p99)))
    return table


def _stages(group: GroupStatus) -> Table:
    table = _table("stage", "share of the time", "")
    shares = _sum(worker.stages for worker in group.workers if worker.stages)
    total = sum(shares.values())
    for stage, share in shares.items():
        part = share / total if total else 0.0
        table.add_row(stage, f"{part:.0%}", Text("█" * round(part * _BAR), style="cyan"))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, name in enumerate(columns):
        words = place == 0 or name in ("state", "worker", "")
        table.add_column(name, justify="left" if words else "right", overflow="ellipsis", no_wrap=True)
    return table


def _worst_first(task: TaskStatus) -> tuple[bool, int, str]:
    return task.state == "running", -task.lag, task.id


def _restored(task: TaskStatus) -> str:
    return f"{task.restored:.0%} of {task.total:,} at {task.rate:,.0f}/s"


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
