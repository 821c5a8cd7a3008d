"""How a group of workers is, in words: what is wrong, and what a person can do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from flows.web.base import Advice, GroupStatus, WorkerStatus

_BEHIND = 2.0
"""Seconds of work that may wait before anyone is told of it."""
_SLOW_LOOP = 0.5
_RECENT = 60.0
_LEVELS = ("bad", "warn", "info", "good")
_TODO = {
    "agent": "An agent takes most of the time: let it await what it waits for, or take batches",
    "decode": "Decoding takes most of the time: fewer fields in the Record, or a binary codec, help",
    "aggregate": "Aggregation takes most of the time: fewer sketches (quantile, approx_distinct) or coarser keys help",
    "fetch": "Most of the time goes to waiting for the broker: look at its disk and network",
    "commit": "Commits take most of the time: a longer --set commit_interval makes fewer of them",
    "changelog": "Changelogs take most of the time: a longer --set commit_interval writes each row less often",
    "state": "State takes most of the time: a larger --set cache_bytes and a faster disk help",
}


def advise(group: GroupStatus, now: float) -> list[Advice]:
    """Say how the group is, the worst first; there is always something to say. `now` is in seconds since the epoch."""
    found = [
        *_silent(group.workers),
        *_unheld(group),
        *_failed(group.workers),
        *_restoring(group.workers),
        *_behind(group.workers),
        *_blocked(group.workers),
        *_refused(group.workers),
        *_late(group.workers),
        *_errors(group.workers, now - _RECENT),
    ]
    if not any(advice.level in ("bad", "warn") for advice in found):
        found.append(_well(group.workers))
    return sorted(found, key=lambda advice: _LEVELS.index(advice.level))


def _silent(workers: Sequence[WorkerStatus]) -> Iterator[Advice]:
    for worker in workers:
        if worker.trouble is not None:
            yield Advice(
                level="bad",
                words=f"Worker {worker.worker} {worker.trouble}.",
                todo="Its tasks move to the others when its lease ends. Look at its log, and start it again.",
                page="workers",
            )


def _unheld(group: GroupStatus) -> Iterator[Advice]:
    if group.unheld and all(worker.ready for worker in group.workers):
        yield Advice(
            level="warn",
            words=f"Nobody holds {_count(len(group.unheld), 'task')}: their records wait.",
            todo="The group gives them out in a moment. If it does not, look at the logs of the workers.",
            page="workers",
        )


def _failed(workers: Sequence[WorkerStatus]) -> Iterator[Advice]:
    for task in (task for worker in workers for task in worker.tasks if task.state == "failed"):
        yield Advice(
            level="bad",
            words=f"Task {task.id} has failed: {task.error or 'its worker does not say why'}.",
            todo="Its records wait, and its tables stand still. Mend the cause, and start the worker again.",
            page="workers",
        )


def _restoring(workers: Sequence[WorkerStatus]) -> Iterator[Advice]:
    tasks = [task for worker in workers for task in worker.tasks if task.state == "restoring"]
    if not tasks:
        return
    done, total, rate = (sum(getattr(task, name) for task in tasks) for name in ("done", "total", "rate"))
    told = f", {100 * done // total} % done" if total else ""
    left = f", about {_seconds((total - done) / rate)} to go" if total and rate else ""
    yield Advice(
        level="warn",
        words=f"{_count(len(tasks), 'task')} being restored from the changelogs{told}{left}.",
        todo="Rows of these tasks are missing until then. There is nothing to do but wait.",
        page="workers",
    )


def _behind(workers: Sequence[WorkerStatus]) -> Iterator[Advice]:
    """Tell of a lag that is more than some seconds of work."""
    lag, rate, growth = (sum(getattr(w, n) for w in workers) for n in ("lag", "records_per_second", "lag_growth"))
    if lag <= _BEHIND * rate or (lag < 100 and rate):
        return
    behind = f"{_number(lag)} records wait to be processed"
    if not rate and all(worker.ready for worker in workers):
        yield Advice(
            level="bad",
            words=f"{behind}, and none is being processed.",
            todo="An agent may be waiting for something, or the broker: look at the errors and at the log.",
            page="workers",
        )
    elif growth > 0.02 * rate:
        yield Advice(
            level="bad",
            words=f"Falling behind: {behind}, {_number(growth)} more each second.",
            todo=_way_out(workers),
            page="workers",
        )
    elif growth < 0:
        yield Advice(
            level="info",
            words=f"Catching up: {behind}, at this pace for about {_seconds(lag / -growth)}.",
            page="workers",
        )


def _way_out(workers: Sequence[WorkerStatus]) -> str:
    """Name the stage that takes the most time, and whether more workers would have something to do."""
    spent: Counter[str] = Counter()
    for worker in workers:
        spent.update({stage: share * worker.busy for stage, share in worker.stages.items()})
    stage = spent.most_common(1)[0][0] if spent.total() else ""
    tasks = sum(len(worker.tasks) for worker in workers)
    more = (
        f"Start more workers: {_count(tasks, 'task')} run on {_count(len(workers), 'worker')}."
        if tasks > len(workers)
        else "Each worker has one task already: more workers need more partitions."
    )
    return f"{_TODO[stage]}. {more}" if stage in _TODO else more


def _blocked(workers: Sequence[WorkerStatus]) -> Iterator[Advice]:
    slow = max(workers, key=lambda worker: worker.loop_lag)
    if slow.loop_lag > _SLOW_LOOP and slow.ready:
        yield Advice(
            level="warn",
            words=f"The event loop of {slow.worker} stood still for {_seconds(slow.loop_lag)}.",
            todo="An agent keeps it from turning: await what it waits for, or use asyncio.to_thread.",
            page="workers",
        )


def _refused(workers: Sequence[WorkerStatus]) -> Iterator[Advice]:
    counts: Counter[str] = Counter()
    lately: Counter[str] = Counter()
    for worker in workers:
        counts.update(worker.refused)
        lately.update(worker.refused_lately)
    for step, count in counts.most_common():
        yield Advice(
            level="warn" if lately[step] else "info",
            words=f"{_count(count, 'record')} did not fit {step} since the start.",
            todo="The dead letters say why. Mend the cause, and drive them again.",
            page="topics",
        )


def _late(workers: Sequence[WorkerStatus]) -> Iterator[Advice]:
    counts: Counter[str] = Counter()
    for worker in workers:
        counts.update(worker.late)
    for table, count in counts.most_common():
        yield Advice(
            level="info",
            words=f"{_count(count, 'record')} came too late for {table}, and are not counted there.",
            todo="A longer grace= of its window takes them in.",
        )


def _errors(workers: Sequence[WorkerStatus], since: float) -> Iterator[Advice]:
    for error in (error for worker in workers for error in worker.errors[-1:] if error.at >= since):
        times = "" if error.count == 1 else f" ({error.count} times)"
        yield Advice(level="warn", words=f"{error.message}{times}", page="workers")


def _well(workers: Sequence[WorkerStatus]) -> Advice:
    tasks, rate = sum(len(w.tasks) for w in workers), sum(w.records_per_second for w in workers)
    doing = f"process {_number(rate)} records a second" if rate >= 1 else "wait for records"
    held = f"{_count(len(workers), 'worker')} with {_count(tasks, 'task')}"
    verb = doing if len(workers) > 1 else doing.replace("process ", "processes ").replace("wait ", "waits ")
    return Advice(level="good", words=f"All is well: {held} {verb}.", page="workers")


def _count(number: int, noun: str) -> str:
    return f"{_number(number)} {noun}{'' if number == 1 else 's'}"


def _number(value: float) -> str:
    return f"{value:,.0f}"


def _seconds(value: float) -> str:
    if value < 1:
        return f"{value * 1000:,.0f} ms"
    if value < 90:
        return f"{value:,.0f} s"
    return f"{value / 60:,.0f} min" if value < 5400 else f"{value / 3600:,.1f} h"
