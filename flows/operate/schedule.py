"""When timers are due: every so often by a clock that never goes back, or when a cron expression says so."""

from __future__ import annotations

import datetime as dt
from typing import Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim

from dsl.plan.nodes import TimerNode
from flows.clock import Clock


class Schedule(Protocol):
    """The next tick of a timer."""

    def left(self) -> float:
        """Return the seconds until it is due; not above 0 when it is."""

    def take(self) -> bool:
        """Tell whether it is due, and go on to the next one. Ticks that were missed are not made up for."""


class Every:
    """A tick each `interval` seconds."""

    def __init__(self, interval: float, clock: Clock) -> None:
        self._interval, self._clock = interval, clock
        self._due = clock.monotonic() + interval

    def left(self) -> float:
        return self._due - self._clock.monotonic()

    def take(self) -> bool:
        late = -self.left()
        if late < 0:
            return False
        self._due += self._interval * (1 + int(late // self._interval))
        return True


class Cron:
    """A tick at each moment of a cron expression, by the wall clock in a time zone."""

    def __init__(self, spec: str, zone: str, clock: Clock) -> None:
        self._spec, self._zone, self._clock = spec, ZoneInfo(zone), clock
        self._due = self._next()

    def left(self) -> float:
        return self._due - self._clock.now()

    def take(self) -> bool:
        if self.left() > 0:
            return False
        self._due = self._next()
        return True

    def _next(self) -> float:
        now = dt.datetime.fromtimestamp(self._clock.now(), self._zone)
        return next(CronSim(self._spec, now), dt.datetime.max.replace(tzinfo=dt.UTC)).timestamp()


def schedule_of(node: TimerNode, clock: Clock) -> Schedule:
    """Return when a timer is due, from now on."""
    return Cron(node.cron, node.timezone, clock) if node.cron else Every(node.interval / 1_000_000, clock)
