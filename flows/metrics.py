"""What the engine counts and times; read by the page, the log and the benchmark."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from time import perf_counter, time

import msgspec

from flows.latency import Durations, Latencies, Marks
from flows.lateness import Lateness

STAGES = ("fetch", "decode", "route", "agent", "aggregate", "state", "changelog", "commit", "live")


_TROUBLES = 20


class Trouble(msgspec.Struct, frozen=True):
    """What went wrong, how often, and when last (seconds since the epoch)."""

    what: str
    count: int
    at: float


class Flows(msgspec.Struct, frozen=True):
    """Records by topic that were read and written, by step that it passed on, and changed rows by table.

    They count work: what is done again after a crash is counted again.
    """

    read: Counter[str]
    written: Counter[str]
    made: Counter[str]
    changed: Counter[str]


class TaskMetrics:
    """Counters and stage times of one task, in records and seconds.

    `latencies` are, by topic, from a record's own timestamp, which is when its producer made it, to the commit of what
    this task did with it. Event times are another thing: a replay of last year's events would take a year.
    """

    def __init__(self) -> None:
        self.records = 0
        self.by_topic: Counter[str] = Counter()
        self.written: Counter[str] = Counter()
        self.made: Counter[str] = Counter()
        self.changed: Counter[str] = Counter()
        self.commits = 0
        self.late: defaultdict[str, Lateness] = defaultdict(Lateness)
        self.refused: Counter[tuple[str, str]] = Counter()
        self.seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self.latencies: dict[str, Latencies] = {}
        self.commit_times = Durations()
        self._uncommitted: list[tuple[str, Marks]] = []
        self._mark = 0.0

    def begin(self) -> None:
        """Start timing; `lap` charges the time since."""
        self._mark = perf_counter()

    def lap(self, stage: str) -> None:
        """Charge the time since the last `begin` or `lap` to a stage."""
        now = perf_counter()
        self.seconds[stage] += now - self._mark
        self._mark = now

    def took(self, topic: str, timestamps: Sequence[int]) -> None:
        """Count records that are being processed; `timestamps` are theirs, in milliseconds since the epoch."""
        self.records += len(timestamps)
        self.by_topic[topic] += len(timestamps)
        self._uncommitted.append((topic, Marks(timestamps)))

    def committed(self, now: float, took: float = 0.0) -> None:
        """Count a commit of all records taken since the last one.

        `now` is in seconds since the epoch, `took` the seconds from its first step to its last.
        """
        self.commits += 1
        self.commit_times.add(took)
        for topic, marks in self._uncommitted:
            self.latencies.setdefault(topic, Latencies()).add(marks, now)
        self._uncommitted.clear()

    def forget(self) -> None:
        """Forget what was not committed: it will be processed again, here or elsewhere."""
        self._uncommitted.clear()

    def count_refused(self, step: str, on_error: str) -> None:
        self.refused[(step, on_error)] += 1


class WorkerMetrics:
    """The sum over a worker's tasks, ended ones included; `fed` are the records that sources wrote, by topic."""

    def __init__(self) -> None:
        self._tasks: dict[str, TaskMetrics] = {}
        self.rebalances = 0
        self._troubles: dict[str, Trouble] = {}
        self.fed: Counter[str] = Counter()

    def task(self, task_id: str) -> TaskMetrics:
        """Return the metrics of a task, kept over its restarts here."""
        return self._tasks.setdefault(task_id, TaskMetrics())

    def tasks(self) -> dict[str, TaskMetrics]:
        """Return the metrics of all tasks that ran here, by id."""
        return dict(self._tasks)

    def trouble(self, what: str) -> None:
        """Remember something that a person should see; of many the last are kept."""
        before = self._troubles.pop(what, None)
        self._troubles[what] = Trouble(what, 1 if before is None else before.count + 1, time())
        if len(self._troubles) > _TROUBLES:
            del self._troubles[next(iter(self._troubles))]

    @property
    def troubles(self) -> list[Trouble]:
        """What went wrong lately, the last at the end."""
        return list(self._troubles.values())

    @property
    def errors(self) -> list[str]:
        """The words of what went wrong lately."""
        return [*self._troubles]

    @property
    def records(self) -> int:
        """Records processed by the tasks of this worker."""
        return sum(t.records for t in self._tasks.values())

    @property
    def by_topic(self) -> Counter[str]:
        """Records processed by topic."""
        return sum((t.by_topic for t in self._tasks.values()), Counter())

    @property
    def late(self) -> Counter[str]:
        """Late records by table."""
        return Counter({table: found.count for table, found in self.lateness().items()})

    def lateness(self) -> dict[str, Lateness]:
        """Return how late the late records came, by table, each a copy."""
        found: dict[str, Lateness] = {}
        for task in self._tasks.values():
            for table, lateness in task.late.items():
                total = found.setdefault(table, Lateness())
                total += lateness
        return found

    @property
    def refused(self) -> Counter[tuple[str, str]]:
        """Refused records by (step, what was done with them)."""
        return sum((t.refused for t in self._tasks.values()), Counter())

    def flows(self) -> Flows:
        """Return what was read, written, passed on and changed."""
        tasks = self._tasks.values()
        return Flows(
            read=self.by_topic,
            written=sum((t.written for t in tasks), Counter(self.fed)),
            made=sum((t.made for t in tasks), Counter()),
            changed=sum((t.changed for t in tasks), Counter()),
        )

    def latencies(self) -> dict[str, Latencies]:
        """Return how long records took from their timestamps to their commits, by topic, each a copy."""
        found: dict[str, Latencies] = {}
        for task in self._tasks.values():
            for topic, latencies in task.latencies.items():
                total = found.setdefault(topic, Latencies())
                total += latencies
        return found

    def commit_times(self) -> Latencies:
        """Return how long commits took, a copy."""
        total = Latencies()
        for task in self._tasks.values():
            total += task.commit_times.all()
        return total

    def seconds(self) -> dict[str, float]:
        """Return the time spent by stage."""
        return {s: sum(t.seconds[s] for t in self._tasks.values()) for s in STAGES}
