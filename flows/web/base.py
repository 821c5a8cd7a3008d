"""What the web server is told by the worker, and the limits it keeps; the other modules of this room build on it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from aiohttp import web

from dsl.plan.graph import Plan
from flows.metrics import WorkerMetrics
from flows.query.base import Holder, LocalTables, Missing, Row, Tables
from flows.web.journal import Journals
from flows.web.topics import Topics


class TaskStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One task: `state` is "restoring", "running", "paused" or "failed"; "unknown" where its worker does not answer.

    `lag` is in records, `watermark` in seconds since the epoch. `restored` is between 0 and 1: `done` of `total`
    records of its changelogs, at `rate` records a second. `state_bytes` is what its tables take on disk and in
    memtables, as of some seconds ago.
    """

    id: str
    state: str
    worker: str = ""
    lag: int = 0
    watermark: float | None = None
    restored: float = 1.0
    done: int = 0
    total: int = 0
    rate: float = 0.0
    state_bytes: int = 0
    error: str | None = None


class ErrorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong lately: the step, the message, how often, and when last (seconds since the epoch)."""

    step: str
    message: str
    count: int = 1
    at: float = 0.0


class LatencyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The seconds that half (`p50`) and nearly all (`p99`) of some records took from their timestamps to the commit.

    `histogram` has pairs of seconds and how many took at most so long but longer than those of the pair before; empty
    ends are left out.
    """

    p50: float
    p99: float
    records: int
    histogram: tuple[tuple[float, int], ...] = ()


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """Records a second: read and written by topic, passed on by step; and changed rows a second by table."""

    read: dict[str, float] = {}
    written: dict[str, float] = {}
    made: dict[str, float] = {}
    changed: dict[str, float] = {}


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A worker at this moment.

    `worker` names the worker; it and `started` (seconds since the epoch) tell a page that the worker was
    restarted. `ready` is true once every task of this worker is restored; until then `state` says why not, in a
    few words. `records_per_second` and `lag` (records) are sums over the tasks. `stages` are the share of time (0 to 1)
    of each stage, `loop_lag` the seconds by which the event loop answered late lately, `memory` the bytes that the
    process has (RSS; 0 where the system does not tell), `caches` those that all stores share: "blocks", of which
    "pinned" cannot go, and "memtables".
    `latency` tells, by topic, how long the records of the last ten seconds took. `refused` and `late` are records since
    the start, by step and by table. Of the last seconds are told: the `flow` through topics, steps and tables; how
    `busy` the worker is, in seconds a second that go to all stages; the `lag_growth` in records a second; and how many
    records were `refused_lately`, by step.
    """

    app: str
    worker: str
    started: float
    ready: bool
    state: str = "running"
    records_per_second: float = 0.0
    records: int = 0
    lag: int = 0
    loop_lag: float = 0.0
    restored: float = 1.0
    tasks: tuple[TaskStatus, ...] = ()
    stages: dict[str, float] = {}
    latency: dict[str, LatencyStatus] = {}
    errors: tuple[ErrorStatus, ...] = ()
    memory: int = 0
    caches: dict[str, int] = {}
    refused: dict[str, int] = {}
    late: dict[str, int] = {}
    flow: Flow = Flow()
    busy: float = 0.0
    lag_growth: float = 0.0
    refused_lately: dict[str, int] = {}


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A worker of the group as this one sees it; `trouble` says why it does not tell of itself, None where it does."""

    worker: str
    address: str
    here: bool = False
    ready: bool = False
    state: str = "unknown"
    started: float | None = None
    records_per_second: float = 0.0
    lag: int = 0
    loop_lag: float = 0.0
    restored: float = 1.0
    tasks: tuple[TaskStatus, ...] = ()
    stages: dict[str, float] = {}
    latency: dict[str, LatencyStatus] = {}
    errors: tuple[ErrorStatus, ...] = ()
    memory: int = 0
    caches: dict[str, int] = {}
    refused: dict[str, int] = {}
    late: dict[str, int] = {}
    flow: Flow = Flow()
    busy: float = 0.0
    lag_growth: float = 0.0
    refused_lately: dict[str, int] = {}
    trouble: str | None = None


class GroupStatus(msgspec.Struct, frozen=True, kw_only=True):
    """All workers of the group, this one first, and the tasks that none of them holds."""

    workers: tuple[WorkerStatus, ...]
    unheld: tuple[str, ...] = ()


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """What a person should know of the group: `words` say it, `todo` what to do about it, if anything.

    `level` is "good", "info", "warn" or "bad"; `page` the part of the page that tells more: "workers" or "topics".
    """

    level: str
    words: str
    todo: str = ""
    page: str = ""


class StatusSource(Protocol):
    """Whoever knows how the worker is; asked about once a second by each open page."""

    def status(self) -> Status:
        """Return the worker's state; must not block."""


class Group(Protocol):
    """This worker among the others of its group; where there are none to ask, a server does without."""

    @property
    def worker(self) -> str:
        """This worker's id, as the group knows it."""

    @property
    def local(self) -> LocalTables: ...

    async def status(self) -> GroupStatus:
        """Ask all workers how they are."""

    async def holders(self) -> dict[str, list[Holder]]:
        """Return who holds each partition of each table."""

    async def look_up(
        self, table: str, key: Mapping[str, str], window: float | None, missing: list[Missing]
    ) -> list[Row]:
        """Return the rows of one key, given as the text of each key column. Raises `FlowsError` for a wrong one."""


class QueryResult(Protocol):
    """What a query answers: column names and rows of values in their order."""

    @property
    def columns(self) -> Sequence[str]: ...

    @property
    def rows(self) -> Sequence[Sequence[Any]]: ...

    @property
    def truncated(self) -> bool: ...

    @property
    def missing(self) -> Sequence[Missing]: ...


Query = Callable[[str], Awaitable[QueryResult]]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of what a visitor can ask for.

    `rows` is the most rows of one answer, `body` the largest request body in bytes, which has to come within
    `body_seconds`; a connection without a whole request is closed after `idle_seconds`. At once there are at most so
    many change `streams`, `peer_streams` of other workers, `downloads` and `queries`. A stream sends at most one
    message in `pace` seconds, a heartbeat after `heartbeat` seconds of quiet, and ends when its client has taken
    nothing for `patience` seconds. The latest changes of `keys` keys of a table are kept for who comes again within
    `memory` seconds.
    """

    rows: int = 10_000
    body: int = 64 * 1024
    body_seconds: float = 10.0
    idle_seconds: float = 75.0
    queries: int = 4
    streams: int = 64
    peer_streams: int = 1024
    pace: float = 0.2
    heartbeat: float = 10.0
    patience: float = 30.0
    downloads: int = 4
    keys: int = 10_000
    memory: float = 60.0


class Context:
    """What every handler needs; lives in the application under `CONTEXT`."""

    def __init__(
        self,
        tables: Tables,
        status: StatusSource,
        query: Query,
        limits: Limits,
        group: Group | None = None,
        metrics: WorkerMetrics | None = None,
        plan: Plan | None = None,
        topics: Topics | None = None,
    ) -> None:
        self.tables = tables
        self.metrics = metrics or WorkerMetrics()
        self.local: Tables = tables if group is None else group.local
        self.status = status
        self.query = query
        self.limits = limits
        self.group = group
        self.plan = plan or Plan("", ())
        self.topics = topics
        self.closing = asyncio.Event()
        self.streams = {"cluster": 0, "local": 0, "downloads": 0, "queries": 0}
        self.requests: Counter[tuple[str, int]] = Counter()
        self.journals = Journals(bound=limits.keys, linger=limits.memory)


CONTEXT = web.AppKey("context", Context)
