"""What tasks share in a worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from dsl.plan.graph import Plan
from flows.brokers.base import Broker
from flows.clock import Clock
from flows.compile.global_tables import GlobalCopy
from flows.compile.tables import TableDecoder
from flows.decode.codecs import Codecs
from flows.metrics import WorkerMetrics
from flows.query.base import Change
from flows.run.asking import Asking
from flows.run.progress import Report
from flows.run.turns import Turns
from flows.settings import Guarantee
from flows.state.base import Store
from flows.tracing import Tracer

Probe = Callable[[str], None]
"""Called at each numbered step of a protocol; tests raise there to crash the task."""


def no_probe(step: str) -> None:
    """Do nothing at a step."""


class Changes(Protocol):
    """Who wants to know of committed changes."""

    def wanted(self, table: str) -> bool: ...

    def publish(self, table: str, changes: list[Change]) -> None: ...

    def miss(self, table: str) -> None: ...


class Environment(msgspec.Struct, kw_only=True):
    """The surroundings of a worker's tasks; times in seconds."""

    plan: Plan
    broker: Broker
    codecs: Codecs
    clock: Clock
    metrics: WorkerMetrics
    hub: Changes
    decoders: dict[str, TableDecoder]
    open_store: Callable[[str], Store]
    progress: Report
    backoff: Callable[[int], Awaitable[None]]
    asking: Asking
    commit_interval: float = 0.05
    commit_rows: int = 20_000
    chunk: int = 4096
    fetch_records: int = 20_000
    idle_after: float = 5.0
    max_ahead: float = 3600.0
    guarantee: Guarantee = "exactly_once"
    probe: Probe = no_probe
    copies: dict[str, GlobalCopy] = {}
    tracer: Tracer | None = None
    turns: Turns = msgspec.field(default_factory=Turns)

    @property
    def group(self) -> str:
        """The consumer group: the app's id."""
        return self.plan.app
