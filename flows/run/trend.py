"""How a worker has done in the last seconds: differences of what it counts."""

from __future__ import annotations

from collections import Counter, deque
from time import perf_counter

import msgspec

from flows.metrics import Flows, WorkerMetrics
from flows.web.base import Flow

_LATELY = 20
"""Measurements, twice a second, over which shares of time and the growth of the lag are told: ten seconds."""
_NOW = 4
"""Those over which rates are told: numbers that change twice a second cannot be read."""


class _Moment(msgspec.Struct, frozen=True):
    at: float
    lag: int | None
    flows: Flows
    seconds: dict[str, float]
    refused: Counter[str]


class Trend:
    """The measurements of the last ten seconds."""

    def __init__(self, metrics: WorkerMetrics) -> None:
        self._metrics = metrics
        self._moments: deque[_Moment] = deque(maxlen=_LATELY + 1)
        self.measure(None)

    def measure(self, lag: int | None) -> None:
        """Note what is counted up to now; `lag` is None while it is not known."""
        metrics = self._metrics
        moment = _Moment(perf_counter(), lag, metrics.flows(), metrics.seconds(), refused_by_step(metrics))
        self._moments.append(moment)

    def flow(self) -> Flow:
        """Return the rates of what is read, written, passed on and changed."""
        before, now = self._moments[-1 - min(_NOW, len(self._moments) - 1)], self._moments[-1]
        seconds = now.at - before.at or 1.0

        def rates(counted: Counter[str], earlier: Counter[str]) -> dict[str, float]:
            return {name: count / seconds for name, count in sorted((counted - earlier).items())}

        return Flow(
            read=rates(now.flows.read, before.flows.read),
            written=rates(now.flows.written, before.flows.written),
            made=rates(now.flows.made, before.flows.made),
            changed=rates(now.flows.changed, before.flows.changed),
        )

    def lag_growth(self) -> float:
        """Return by how many records a second the lag has grown."""
        known = [(m.at, m.lag) for m in self._moments if m.lag is not None]
        if len(known) < 2:
            return 0.0
        (begun, before), (ended, now) = known[0], known[-1]
        return (now - before) / (ended - begun)

    def shares(self) -> dict[str, float]:
        """Return the share of time (0 to 1) of each stage; nothing where no time was spent."""
        spent = self._spent()
        total = sum(spent.values())
        return {stage: seconds / total for stage, seconds in spent.items()} if total else {}

    def busy(self) -> float:
        """Return the seconds a second that were spent in all stages."""
        return sum(self._spent().values()) / (self._moments[-1].at - self._moments[0].at or 1.0)

    def refused(self) -> dict[str, int]:
        """Return the records that each step refused."""
        return dict(self._moments[-1].refused - self._moments[0].refused)

    def _spent(self) -> dict[str, float]:
        before, now = self._moments[0].seconds, self._moments[-1].seconds
        return {stage: now[stage] - before[stage] for stage in now}


def refused_by_step(metrics: WorkerMetrics) -> Counter[str]:
    """Return the records that each step refused since the start, whatever was done with them."""
    steps: Counter[str] = Counter()
    for (step, _), count in metrics.refused.items():
        steps[step] += count
    return steps
