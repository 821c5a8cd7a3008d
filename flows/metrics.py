"""What the engine counts and times; read by the page, the log and the benchmark."""

from __future__ import annotations

from collections import Counter, deque
from time import perf_counter

STAGES = ("fetch", "decode", "route", "agent", "aggregate", "state", "changelog", "commit", "live")


class TaskMetrics:
    """Counters and stage times of one task, in records and seconds."""

    def __init__(self) -> None:
        self.records = 0
        self.commits = 0
        self.late: Counter[str] = Counter()
        self.refused: Counter[tuple[str, str]] = Counter()
        self.seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self._mark = 0.0

    def begin(self) -> None:
        """Start timing; `lap` charges the time since."""
        self._mark = perf_counter()

    def lap(self, stage: str) -> None:
        """Charge the time since the last `begin` or `lap` to a stage."""
        now = perf_counter()
        self.seconds[stage] += now - self._mark
        self._mark = now

    def count_refused(self, step: str, on_error: str) -> None:
        self.refused[(step, on_error)] += 1


class WorkerMetrics:
    """The sum over a worker's tasks, ended ones included."""

    def __init__(self) -> None:
        self._tasks: dict[str, TaskMetrics] = {}
        self.loop_delay = 0.0
        self.errors: deque[str] = deque(maxlen=20)

    def task(self, task_id: str) -> TaskMetrics:
        """Return the metrics of a task, kept over its restarts here."""
        return self._tasks.setdefault(task_id, TaskMetrics())

    def tasks(self) -> list[TaskMetrics]:
        """Return the metrics of all tasks that ran here."""
        return list(self._tasks.values())

    def trouble(self, what: str) -> None:
        """Remember something that a person should see, once."""
        if what not in self.errors:
            self.errors.append(what)

    @property
    def records(self) -> int:
        """Records processed by the tasks of this worker."""
        return sum(t.records for t in self._tasks.values())

    @property
    def late(self) -> Counter[str]:
        """Late records by table."""
        return sum((t.late for t in self._tasks.values()), Counter())

    @property
    def refused(self) -> Counter[tuple[str, str]]:
        """Refused records by (step, what was done with them)."""
        return sum((t.refused for t in self._tasks.values()), Counter())

    def seconds(self) -> dict[str, float]:
        """Return the time spent by stage."""
        return {s: sum(t.seconds[s] for t in self._tasks.values()) for s in STAGES}
