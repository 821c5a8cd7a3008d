"""What the web server is told by the worker, and the limits it keeps; the other modules of this room build on it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec
from aiohttp import web

from flows.query.base import Tables


class TaskStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One task: `state` is "restoring", "running", "paused" or "failed".

    `lag` is in records, `watermark` in seconds since the epoch, `restored` between 0 and 1.
    """

    id: str
    state: str
    lag: int = 0
    watermark: float | None = None
    restored: float = 1.0
    error: str | None = None


class ErrorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong lately: the step, the message, how often, and when last (seconds since the epoch)."""

    step: str
    message: str
    count: int = 1
    at: float = 0.0


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A worker at this moment.

    `worker` names the worker; it and `started` (seconds since the epoch) tell a page that the worker was
    restarted. `ready` is true once every task of this worker is restored; until then `state` says why not, in a
    few words. `records_per_second` and `lag` (records) are sums over the tasks. `rates` are records per second by
    topic or step, `stages` the share of time (0 to 1) of each stage, `loop_lag` the seconds by which the
    event loop answered late lately.
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
    rates: dict[str, float] = {}
    stages: dict[str, float] = {}
    errors: tuple[ErrorStatus, ...] = ()


class StatusSource(Protocol):
    """Whoever knows how the worker is; asked about once a second by each open page."""

    def status(self) -> Status:
        """Return the worker's state; must not block."""


class QueryResult(Protocol):
    """What a query answers: column names and rows of values in their order."""

    @property
    def columns(self) -> Sequence[str]: ...

    @property
    def rows(self) -> Sequence[Sequence[Any]]: ...

    @property
    def truncated(self) -> bool: ...


Query = Callable[[str], Awaitable[QueryResult]]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of what a visitor can ask for.

    `rows` is the most rows of one answer, `body` the largest request body in bytes, `streams` the most change
    streams at once. A stream sends at most one message in `pace` seconds, a heartbeat after `heartbeat` seconds of
    quiet, and ends when its client has taken nothing for `patience` seconds.
    """

    rows: int = 10_000
    body: int = 64 * 1024
    streams: int = 64
    pace: float = 0.2
    heartbeat: float = 10.0
    patience: float = 30.0


class Context:
    """What every handler needs; lives in the application under `CONTEXT`."""

    def __init__(self, tables: Tables, status: StatusSource, query: Query, limits: Limits) -> None:
        self.tables = tables
        self.status = status
        self.query = query
        self.limits = limits
        self.closing = asyncio.Event()
        self.streams = 0


CONTEXT = web.AppKey("context", Context)
